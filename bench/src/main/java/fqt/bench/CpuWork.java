package fqt.bench;

import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.PackedWeight;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntConsumer;
import java.util.function.Supplier;

/** One linear layer on the CPU, its weights in rotation if they are to come from memory. */
final class CpuWork {
  private static final long FAR = 400_000_000;
  private static final long GROUP = 128;
  private static final boolean PROCESSOR_TIME =
      "processor".equals(System.getProperty("fqt.bench.clock"));

  private final List<Supplier<Tensor>> calls = new ArrayList<>();
  private final List<Onednn> peers = new ArrayList<>();
  private final long weightBytes;
  private int next;

  /** A layer of m tokens, n outputs and k inputs; the type is f32, bf16, s8 or int4. */
  CpuWork(String type, int m, int n, int k) {
    Tensor x = GemmBench.random(1, m, k);
    Tensor xScale = Ops.full(Device.CPU, DType.F32, 1.0 / 127, m);
    Tensor wScale = Ops.full(Device.CPU, DType.F32, 1.0 / 127, n);
    Tensor bf16 = Ops.to(x, DType.BF16);
    Tensor s8 = Ops.to(Ops.affine(x, 127, 0), DType.I8);
    Tensor row = GemmBench.random(2, 1, (long) n * k / 64).reshape((long) n * k / 64);
    Tensor w = Ops.empty(Device.CPU, DType.F32, 64, row.count());
    for (int i = 0; i < 64; i++) {
      Ops.copyInto(row, w.select(0, i));
    }
    Tensor weights = w.reshape(n, k);
    Tensor out = Ops.empty(Device.CPU, DType.F32, m, n);
    int threads = Integer.getInteger("fqt.threads");
    long bytes = 0;
    do {
      switch (type) {
        case "f32" -> {
          Tensor own = Ops.copy(weights);
          calls.add(() -> Ops.linear(x, own, null));
          bytes = own.byteSize();
          peer(x, own, out, threads);
        }
        case "bf16" -> {
          Tensor own = Ops.to(weights, DType.BF16);
          calls.add(() -> Ops.linear(bf16, own, null));
          bytes = own.byteSize();
          peer(bf16, own, out, threads);
        }
        case "s8" -> {
          Tensor own = Ops.to(Ops.affine(weights, 127, 0), DType.I8);
          calls.add(() -> Ops.int8Linear(s8, xScale, own, wScale, null));
          bytes = own.byteSize();
          peer(s8, own, out, threads);
        }
        case "int4" -> {
          Tensor codes = Ops.full(Device.CPU, DType.I32, 0x12345678, n, k / 8);
          Tensor scales = Ops.full(Device.CPU, DType.F16, 0.125, n, k / GROUP);
          PackedWeight own = new PackedWeight(4, k, GROUP, codes, scales, null, null);
          calls.add(() -> Ops.packedLinear(x, own, null));
          bytes = own.byteSize();
        }
        default -> throw new IllegalArgumentException("no weight '" + type + "'");
      }
    } while (m <= 16 && calls.size() < 16 && bytes * calls.size() < FAR);
    weightBytes = bytes;
  }

  private void peer(Tensor x, Tensor w, Tensor out, int threads) {
    if (Onednn.multiplies(x.dtype())) {
      peers.add(new Onednn(x, w, out, threads));
    }
  }

  /** Whether oneDNN computes this too. */
  boolean hasPeer() {
    return !peers.isEmpty();
  }

  /** Repeats oneDNN's product for so many seconds; seconds for one. */
  double timePeer(double seconds) {
    return time(seconds, i -> peers.get(i).run());
  }

  /** Bytes of one weight. */
  long weightBytes() {
    return weightBytes;
  }

  /** Repeats the layer for so many seconds; seconds for one. */
  double time(double seconds) {
    return time(
        seconds,
        i -> {
          try (Scope results = Scope.open()) {
            calls.get(i).get();
          }
        });
  }

  private double time(double seconds, IntConsumer call) {
    long start = now();
    long count = 0;
    double passed;
    do {
      call.accept(next);
      next = (next + 1) % calls.size();
      count++;
      passed = (now() - start) * 1e-9;
    } while (passed < seconds);
    return passed / count;
  }

  /** With {@code -Dfqt.bench.clock=processor} the time that this thread was running. */
  private static long now() {
    return PROCESSOR_TIME
        ? ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime()
        : System.nanoTime();
  }
}
