package fqt.cuda;

import static fqt.cuda.Launcher.address;
import static fqt.cuda.Launcher.bits;

import fqt.tensor.BinaryOp;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;

/** Operations element by element on one GPU. */
final class CudaPointwise {
  private static final long PER_THREAD = 4;

  private final Launcher launcher;
  private final RoundedTwin twin;

  CudaPointwise(Launcher launcher, RoundedTwin twin) {
    this.launcher = launcher;
    this.twin = twin;
  }

  void binary(BinaryOp op, Tensor a, Tensor b, Tensor out) {
    if (b.count() == a.count()) {
      run("binary", a, op.ordinal(), address(a), address(b), address(out), a.count());
    } else {
      run(
          "binary_repeated",
          a,
          op.ordinal(),
          address(a),
          address(b),
          address(out),
          a.count(),
          b.count());
    }
  }

  void unary(UnaryOp op, Tensor x, Tensor out) {
    run("unary", x, op.ordinal(), address(x), address(out), x.count());
  }

  void affine(Tensor x, float scale, float shift, Tensor out) {
    run("affine", x, address(x), bits(scale), bits(shift), address(out), x.count());
  }

  void gated(UnaryOp op, Tensor gate, Tensor up, Tensor out) {
    long rounded = address(twin.room(out));
    run(
        "gated",
        gate,
        op.ordinal(),
        address(gate),
        address(up),
        address(out),
        out.count(),
        rounded);
    twin.written();
  }

  private void run(String kernel, Tensor x, long... arguments) {
    long blocks = Launcher.blocks(Math.ceilDiv(x.count(), PER_THREAD));
    launcher.run("pointwise_sm80", kernel, blocks, Launcher.THREADS, arguments);
  }
}
