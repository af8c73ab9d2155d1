package fqt.cuda;

import fqt.tensor.DType;
import fqt.tensor.Shape;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;
import java.nio.charset.StandardCharsets;
import java.util.function.ObjDoubleConsumer;
import java.util.function.Predicate;
import jcuda.driver.CUresult;

/** What happens when the driver refuses something, and when a kernel breaks the GPU's context. */
final class FailureCheck {
  private static final String NO_PTX =
      ".version 7.0\n.target sm_80\n.address_size 64\nthis is no instruction\n";

  private final CudaContext context;
  private final ObjDoubleConsumer<String> report;

  FailureCheck(CudaContext context, ObjDoubleConsumer<String> report) {
    this.context = context;
    this.report = report;
  }

  /** Refusals that harm nothing: bad PTX, and more memory than there is. */
  void refused() {
    byte[] text = NO_PTX.getBytes(StandardCharsets.US_ASCII);
    expect(
        "bad PTX is refused in the compiler's words",
        () -> KernelSet.compile("broken", text),
        e ->
            e.code() == CUresult.CUDA_ERROR_INVALID_PTX
                && e.getMessage().startsWith("compiling broken.ptx ["));
    expect(
        "too much memory is refused with what is free",
        () -> context.allocate(1L << 50),
        e -> e.getMessage().contains("bytes free"));
    Storage storage = context.allocate(1 << 20);
    context.fill(storage, (byte) 1);
    storage.release();
    report.accept("the GPU works after refusals", 0);
  }

  /** An illegal access: one error says what happened, and every later call that it did. */
  void broken() {
    Storage storage = context.allocate(64);
    Tensor target = Tensor.of(storage, DType.F32, Shape.of(16));
    Launcher launcher = new Launcher(context);
    long nowhere = 64;
    launcher.run(
        CudaQuantize.module(context),
        "copy_rows",
        1,
        32,
        nowhere,
        Launcher.address(target),
        64,
        64,
        64);
    expect(
        "an illegal access is told in the driver's words",
        () -> context.stream().synchronize(),
        e -> e.code() == CUresult.CUDA_ERROR_ILLEGAL_ADDRESS);
    for (int i = 0; i < 2; i++) {
      expect(
          "a broken GPU says since when",
          () -> context.allocate(64),
          e -> e.getMessage().startsWith(context.device() + " is lost to this process since "));
    }
  }

  private void expect(String title, Runnable action, Predicate<CudaException> right) {
    try {
      action.run();
      report.accept(title + ": nothing was thrown", Double.POSITIVE_INFINITY);
    } catch (CudaException e) {
      report.accept(title + ": " + e.getMessage(), right.test(e) ? 0 : Double.POSITIVE_INFINITY);
    }
  }
}
