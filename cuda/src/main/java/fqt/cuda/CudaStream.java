package fqt.cuda;

import fqt.tensor.Storage;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;

/** A queue of work on one GPU; what is put in runs in order. Belongs to a {@link CudaContext}. */
public final class CudaStream implements AutoCloseable {
  private final CudaContext context;
  private final Handles.Stream handle = new Handles.Stream();
  private Storage workspace;
  private boolean closed;

  CudaStream(CudaContext context) {
    this.context = context;
    context.bind();
    context.check(
        JCudaDriver.cuStreamCreate(handle, CUstream_flags.CU_STREAM_NON_BLOCKING),
        "creating a stream");
  }

  /** {@return the GPU that runs this queue} */
  public CudaContext context() {
    return context;
  }

  Handles.Stream handle() {
    if (closed) {
      throw new IllegalStateException("the stream is closed");
    }
    return handle;
  }

  /**
   * Where blocks of one kernel leave sums for each other; kernels of one stream follow each other
   * and can share it. Zeros when first asked for, and again whenever no kernel runs.
   */
  long workspace() {
    if (workspace == null) {
      workspace = context.allocateZeros(GemmPlan.workspaceBytes(context.processors()));
    }
    return workspace.address();
  }

  /**
   * Waits until everything in this queue has run.
   *
   * @throws CudaException if something in it failed
   */
  public void synchronize() {
    context.bind();
    context.check(JCudaDriver.cuStreamSynchronize(handle()), "running the work of a stream");
  }

  /**
   * Lets later work of this queue wait for an event of another.
   *
   * @param event recorded in another stream
   */
  public void await(CudaEvent event) {
    context.bind();
    context.check(
        JCudaDriver.cuStreamWaitEvent(handle(), event.handle(), 0), "waiting for an event");
  }

  /** Gives the workspace back; nothing may be running. */
  void releaseWorkspace() {
    if (workspace != null) {
      workspace.release();
      workspace = null;
    }
  }

  /** Waits for the work and gives the queue back. A second call does nothing. */
  @Override
  public void close() {
    if (!closed) {
      context.bind();
      int finished = JCudaDriver.cuStreamSynchronize(handle);
      releaseWorkspace();
      closed = true;
      int destroyed = JCudaDriver.cuStreamDestroy(handle);
      context.check(finished, "running the work of a stream");
      context.check(destroyed, "closing a stream");
    }
  }
}
