package fqt.bench;

import fqt.tensor.AttentionMask;
import fqt.tensor.BinaryOp;
import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.QuantOps;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Everything that is no matrix product. What only moves through memory is to be read against {@code
 * copy}, which the machine cannot beat: {@code megabyte} counts what is read and written at least.
 * Attention and the operations of the Hessian are to be read against a product's {@code megaflop}.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 6, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 4, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Fork(
    value = 1,
    jvmArgsAppend = {"--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED"})
public class RowsBench {
  private static final int TOKENS = 2048;
  private static final int FEATURES = 3584;
  private static final int GROUP = 128;

  /** What runs. */
  @Param({
    "copy",
    "rms norm",
    "layer norm",
    "softmax",
    "silu",
    "gated silu",
    "add",
    "bf16 to f32",
    "f32 to bf16",
    "f16 to f32",
    "f32 to f16",
    "f8 to f32",
    "f32 to f8",
    "quantize per token",
    "quantize per token to f8",
    "quantize per group",
    "dequantize per group",
    "gptq columns",
    "attention 512",
    "attention 2048",
    "gemm",
    "syrk",
    "cholesky",
    "cholesky 3584",
    "triangular inverse",
    "triangular inverse 3584"
  })
  public String operation;

  /** Threads. */
  @Param({"1", "2"})
  public int threads;

  private Supplier<Object> run;
  private long flop;
  private long bytes;

  /** Makes the operands. */
  @Setup
  public void prepare() {
    System.setProperty("fqt.threads", Integer.toString(threads));
    switch (operation) {
      case "gptq columns" -> columnLoop();
      case "attention 512" -> attention(512);
      case "attention 2048" -> attention(2048);
      case "gemm", "syrk", "cholesky", "triangular inverse" -> matrix(1408, 2048);
      case "cholesky 3584", "triangular inverse 3584" -> matrix(3584, 4096);
      default -> rows();
    }
  }

  private void rows() {
    Tensor x = GemmBench.random(1, TOKENS, FEATURES);
    Tensor y = GemmBench.random(2, TOKENS, FEATURES);
    Tensor weight = GemmBench.random(3, 1, FEATURES).reshape(FEATURES);
    bytes = 2 * x.byteSize();
    run =
        switch (operation) {
          case "copy" -> () -> into(x, y);
          case "rms norm" -> () -> Ops.rmsNorm(x, weight, 1e-6f);
          case "layer norm" -> () -> Ops.layerNorm(x, weight, weight, 1e-6f);
          case "softmax" -> () -> Ops.softmax(x);
          case "silu" -> () -> Ops.unary(UnaryOp.SILU, x);
          case "gated silu" -> () -> Ops.gated(UnaryOp.SILU, x, y);
          case "add" -> () -> Ops.binary(BinaryOp.ADD, x, y);
          case "bf16 to f32" -> conversion(Ops.to(x, DType.BF16), y);
          case "f32 to bf16" -> conversion(x, Ops.to(x, DType.BF16));
          case "f16 to f32" -> conversion(Ops.to(x, DType.F16), y);
          case "f32 to f16" -> conversion(x, Ops.to(x, DType.F16));
          case "f8 to f32" -> conversion(Ops.to(x, DType.F8_E4M3), y);
          case "f32 to f8" -> conversion(x, Ops.to(x, DType.F8_E4M3));
          case "quantize per token" -> () -> QuantOps.quantizeRows(x, DType.I8);
          case "quantize per token to f8" -> () -> QuantOps.quantizeRows(x, DType.F8_E4M3);
          case "quantize per group" -> groups(x);
          case "dequantize per group" -> groupsBack(x);
          default -> throw new IllegalArgumentException("no operation '" + operation + "'");
        };
    switch (operation) {
      case "gated silu", "add" -> bytes += x.byteSize();
      case "quantize per token",
          "quantize per token to f8",
          "quantize per group",
          "dequantize per group" ->
          bytes = x.byteSize() + x.count();
      default -> {}
    }
  }

  private Supplier<Object> conversion(Tensor from, Tensor to) {
    bytes = from.byteSize() + to.byteSize();
    return () -> into(from, to);
  }

  private static Tensor into(Tensor from, Tensor to) {
    Ops.copyInto(from, to);
    return to;
  }

  private static Supplier<Object> groups(Tensor x) {
    Tensor scale = Ops.full(Device.CPU, DType.F32, 0.125, TOKENS, FEATURES / GROUP);
    Tensor zero = Ops.full(Device.CPU, DType.F32, 8, TOKENS, FEATURES / GROUP);
    return () -> QuantOps.quantize(x, Blocks.perGroup(GROUP), scale, zero, 0, 15, DType.U8);
  }

  private static Supplier<Object> groupsBack(Tensor x) {
    Tensor codes = (Tensor) groups(x).get();
    Tensor scale = Ops.full(Device.CPU, DType.F32, 0.125, TOKENS, FEATURES / GROUP);
    Tensor zero = Ops.full(Device.CPU, DType.F32, 8, TOKENS, FEATURES / GROUP);
    return () -> QuantOps.dequantize(codes, Blocks.perGroup(GROUP), scale, zero, DType.F32);
  }

  /** One block of columns of GPTQ: each column's errors are taken out of those behind it. */
  private void columnLoop() {
    Tensor w = GemmBench.random(1, FEATURES, GROUP);
    Tensor own = Ops.copy(w);
    Tensor u = Ops.affine(GemmBench.random(2, GROUP, GROUP), 0.01f, 1);
    Tensor scale = Ops.full(Device.CPU, DType.F32, 0.1, GROUP, FEATURES).transpose(0, 1);
    Tensor zero = Ops.full(Device.CPU, DType.F32, 8, GROUP, FEATURES).transpose(0, 1);
    Tensor codes = Ops.empty(Device.CPU, DType.U8, FEATURES, GROUP);
    Tensor error = Ops.empty(Device.CPU, DType.F32, FEATURES, GROUP);
    flop = (long) FEATURES * GROUP * GROUP;
    run =
        () -> {
          Ops.copyInto(w, own);
          QuantOps.gptqBlock(own, u, scale, zero, 15, codes, error);
          return own;
        };
  }

  private void attention(long tokens) {
    Tensor q = GemmBench.random(1, tokens, 8 * 64).reshape(tokens, 8, 64);
    Tensor k = GemmBench.random(2, tokens, 8 * 64).reshape(tokens, 8, 64);
    Tensor v = GemmBench.random(3, tokens, 8 * 64).reshape(tokens, 8, 64);
    AttentionMask mask = AttentionMask.causal(tokens);
    flop = 4 * 8 * 64 * tokens * (tokens + 1) / 2;
    run = () -> Ops.attention(q, k, v, 0.125f, mask);
  }

  private void matrix(long size, long samples) {
    Tensor x = GemmBench.random(1, samples, size);
    Tensor sum = Ops.zeros(Device.CPU, DType.F32, size, size);
    Ops.syrkInto(1, x, 0, sum);
    Tensor factor = Ops.copy(sum);
    Ops.choleskyInPlace(factor);
    flop = size * size * size / 3;
    run =
        switch (operation) {
          case "gemm" -> () -> Ops.matmul(x, sum);
          case "syrk" -> () -> syrk(x);
          case "cholesky", "cholesky 3584" -> () -> cholesky(sum);
          default -> () -> Ops.invertLower(factor);
        };
    switch (operation) {
      case "gemm" -> flop = 2 * samples * size * size;
      case "syrk" -> flop = samples * size * size;
      default -> {}
    }
  }

  private static Tensor syrk(Tensor x) {
    Tensor sum = Ops.empty(Device.CPU, DType.F32, x.dim(1), x.dim(1));
    Ops.syrkInto(1, x, 0, sum);
    return sum;
  }

  private static Tensor cholesky(Tensor positive) {
    Tensor factor = Ops.copy(positive);
    if (Ops.choleskyInPlace(factor) >= 0) {
      throw new IllegalStateException("the matrix of the benchmark is not positive definite");
    }
    return factor;
  }

  /** Floating-point operations of one run; 0 where bytes say more. */
  long flop() {
    return flop;
  }

  /** Bytes that one run reads and writes at least. */
  long bytes() {
    return bytes;
  }

  /** Repeats the operation for so many seconds; seconds for one. */
  double time(double seconds) {
    Work work = new Work();
    long start = CpuWork.now();
    long count = 0;
    double passed;
    do {
      run(work);
      count++;
      passed = (CpuWork.now() - start) * 1e-9;
    } while (passed < seconds);
    return passed / count;
  }

  /** One run. */
  @Benchmark
  public Object run(Work work) {
    work.megaflop += flop / 1_000_000;
    work.megabyte += bytes / 1_000_000;
    try (fqt.tensor.Scope results = fqt.tensor.Scope.open()) {
      return run.get();
    }
  }
}
