package fqt.tensor.cpu;

import fqt.tensor.UnaryOp;
import fqt.tensor.cpu.asm.CodeKernel;
import fqt.tensor.cpu.asm.ColumnKernel;
import fqt.tensor.cpu.asm.ExecutableMemory;
import fqt.tensor.cpu.asm.ExpKernel;
import fqt.tensor.cpu.asm.Float8Kernel;
import fqt.tensor.cpu.asm.GateKernel;
import fqt.tensor.cpu.asm.HalfKernel;
import fqt.tensor.cpu.asm.NormKernel;
import fqt.tensor.cpu.asm.RangeKernel;
import fqt.tensor.cpu.asm.ScoreKernel;
import fqt.tensor.cpu.asm.SquareKernel;
import fqt.tensor.cpu.asm.StreamKernel;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;

/** The machine code of what is no product, each kernel assembled when it is first wanted. */
final class RowKernels {
  private static final float TANH_GELU = 1.5957691f;

  private final int bits;
  private final ConcurrentMap<Class<?>, Object> kernels = new ConcurrentHashMap<>();
  private final ConcurrentMap<Boolean, CodeKernel> codes = new ConcurrentHashMap<>();
  private final ConcurrentMap<Float8Kernel.Type, Float8Kernel> float8 = new ConcurrentHashMap<>();
  private final ConcurrentMap<HalfKernel.Type, HalfKernel> halves = new ConcurrentHashMap<>();
  private final ConcurrentMap<UnaryOp, GateKernel> gates = new ConcurrentHashMap<>();

  /** Kernels for vectors of that many bits. */
  RowKernels(int bits) {
    this.bits = bits;
  }

  /** The passes of a softmax. */
  ExpKernel exp() {
    return kernel(ExpKernel.class, ExpKernel::new);
  }

  /** The step of attention between its products. */
  ScoreKernel scores() {
    return kernel(ScoreKernel.class, ScoreKernel::new);
  }

  /** The passes of a normalization. */
  NormKernel norms() {
    return kernel(NormKernel.class, size -> new NormKernel());
  }

  /** The kernel of smallest and largest numbers. */
  RangeKernel range() {
    return kernel(RangeKernel.class, size -> new RangeKernel());
  }

  /** The column loop of GPTQ. */
  ColumnKernel columns() {
    return kernel(ColumnKernel.class, ColumnKernel::new);
  }

  /** Turns matrices on their side. */
  SquareKernel squares() {
    return kernel(SquareKernel.class, size -> new SquareKernel());
  }

  /** Copies past the caches. */
  StreamKernel stream() {
    return kernel(StreamKernel.class, size -> new StreamKernel());
  }

  /** The conversions of a float type of 16 bits. */
  HalfKernel half(HalfKernel.Type type) {
    return halves.computeIfAbsent(type, wanted -> made(size -> new HalfKernel(wanted)));
  }

  /** The conversions of an 8-bit float type. */
  Float8Kernel float8(Float8Kernel.Type type) {
    return float8.computeIfAbsent(type, wanted -> made(size -> new Float8Kernel(wanted)));
  }

  /** The kernel of codes of a byte. */
  CodeKernel codes(boolean signed) {
    return codes.computeIfAbsent(signed, wanted -> made(size -> new CodeKernel(wanted)));
  }

  /** Whether there is a kernel of an activation. */
  boolean serves(UnaryOp op) {
    return op == UnaryOp.SILU || op == UnaryOp.QUICK_GELU || op == UnaryOp.GELU_TANH;
  }

  /** The kernel of an activation. */
  GateKernel gate(UnaryOp op) {
    return gates.computeIfAbsent(
        op,
        wanted ->
            switch (wanted) {
              case SILU -> made(size -> new GateKernel(size, 1, 0));
              case QUICK_GELU -> made(size -> new GateKernel(size, 1.702f, 0));
              case GELU_TANH ->
                  made(size -> new GateKernel(size, TANH_GELU, TANH_GELU * 0.044715f));
              case ABS, SQRT, RELU, EXP, SIGMOID, GELU -> throw new AssertionError(wanted);
            });
  }

  /** Assembles a kernel for vectors of so many bits. */
  private interface Maker<T> {
    T of(int bits) throws ExecutableMemory.Refused;
  }

  private <T> T kernel(Class<T> type, Maker<T> maker) {
    return type.cast(kernels.computeIfAbsent(type, wanted -> made(maker)));
  }

  private <T> T made(Maker<T> maker) {
    try {
      return maker.of(bits);
    } catch (ExecutableMemory.Refused refused) {
      throw new IllegalStateException(
          "machine code ran before, but " + refused.getMessage(), refused);
    }
  }
}
