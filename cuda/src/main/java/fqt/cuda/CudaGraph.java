package fqt.cuda;

import jcuda.driver.CUgraph;
import jcuda.driver.CUgraphExec;
import jcuda.driver.CUstreamCaptureMode;
import jcuda.driver.JCudaDriver;

/**
 * A recorded sequence of work that one call repeats, on the stream that it was recorded from.
 * Addresses are recorded too: the tensors must live as long as the graph, and nothing may be
 * allocated while recording.
 */
public final class CudaGraph implements AutoCloseable {
  private final CudaContext context;
  private final CudaStream stream;
  private final CUgraphExec handle = new CUgraphExec();
  private boolean closed;

  private CudaGraph(CudaStream stream) {
    this.context = stream.context();
    this.stream = stream;
  }

  /**
   * Records what an action puts into a stream, without running it. Kernels must have been used once
   * before, since loading them cannot be recorded.
   *
   * @param stream the stream that records, and that {@link #launch} will use
   * @param action puts kernels and copies into {@code stream}, and waits for none
   * @return the recording, ready to be launched any number of times
   */
  public static CudaGraph record(CudaStream stream, Runnable action) {
    CudaContext context = stream.context();
    CudaGraph result = new CudaGraph(stream);
    CUgraph graph = new CUgraph();
    context.bind();
    context.check(
        JCudaDriver.cuStreamBeginCapture(
            stream.handle(), CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
        "starting to record a graph");
    try {
      action.run();
    } finally {
      context.bind();
      context.check(
          JCudaDriver.cuStreamEndCapture(stream.handle(), graph), "ending to record a graph");
    }
    int code = JCudaDriver.cuGraphInstantiate(result.handle, graph, 0);
    JCudaDriver.cuGraphDestroy(graph);
    context.check(code, "preparing a recorded graph");
    return result;
  }

  /** Puts the recorded work into its stream. */
  public void launch() {
    if (closed) {
      throw new IllegalStateException("the graph is closed");
    }
    context.bind();
    context.wrote();
    context.check(JCudaDriver.cuGraphLaunch(handle, stream.handle()), "launching a graph");
  }

  /** Gives the recording back. A second call does nothing. */
  @Override
  public void close() {
    if (!closed) {
      context.bind();
      closed = true;
      context.check(JCudaDriver.cuGraphExecDestroy(handle), "closing a graph");
    }
  }
}
