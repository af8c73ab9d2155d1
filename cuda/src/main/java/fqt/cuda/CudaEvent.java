package fqt.cuda;

import jcuda.driver.CUevent;
import jcuda.driver.CUevent_flags;
import jcuda.driver.JCudaDriver;

/** A mark in a stream: to be waited for, and to tell the time between two of them. */
public final class CudaEvent implements AutoCloseable {
  private final CudaContext context;
  private final CUevent handle = new CUevent();
  private boolean closed;

  /**
   * A mark that is in no stream yet.
   *
   * @param context the GPU in whose streams it will be put
   */
  public CudaEvent(CudaContext context) {
    this.context = context;
    context.bind();
    context.check(
        JCudaDriver.cuEventCreate(handle, CUevent_flags.CU_EVENT_DEFAULT), "creating an event");
  }

  CUevent handle() {
    if (closed) {
      throw new IllegalStateException("the event is closed");
    }
    return handle;
  }

  /**
   * Puts the mark behind what the stream holds now.
   *
   * @param stream a stream of the same GPU
   */
  public void record(CudaStream stream) {
    context.bind();
    context.check(JCudaDriver.cuEventRecord(handle(), stream.handle()), "recording an event");
  }

  /** Waits until the stream has come to the mark. */
  public void synchronize() {
    context.bind();
    context.check(JCudaDriver.cuEventSynchronize(handle()), "waiting for an event");
  }

  /**
   * {@return the microseconds from an earlier mark to this one} Both must have been passed.
   *
   * @param earlier a mark of the same GPU
   */
  public double microsecondsSince(CudaEvent earlier) {
    context.bind();
    float[] milliseconds = new float[1];
    context.check(
        JCudaDriver.cuEventElapsedTime(milliseconds, earlier.handle(), handle()),
        "reading the time between two events");
    return milliseconds[0] * 1e3;
  }

  /** Gives the mark back. A second call does nothing. */
  @Override
  public void close() {
    if (!closed) {
      context.bind();
      closed = true;
      context.check(JCudaDriver.cuEventDestroy(handle), "closing an event");
    }
  }
}
