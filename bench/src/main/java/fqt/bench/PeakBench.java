package fqt.bench;

import java.util.concurrent.TimeUnit;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/** The floor under every matrix product: how many multiply-adds one core can do at all. */
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 3, jvmArgsAppend = "--add-modules=jdk.incubator.vector")
public class PeakBench {
  private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
  private static final int STEPS = 1_000_000;

  private final float[] sums = new float[12 * SPECIES.length()];

  /** Twelve chains of fused multiply-adds, enough to hide their latency; nothing from memory. */
  @Benchmark
  public float[] multiplyAdds(Work work) {
    FloatVector x = FloatVector.broadcast(SPECIES, 0.5f);
    FloatVector y = FloatVector.broadcast(SPECIES, 1.5f);
    FloatVector s0 = FloatVector.zero(SPECIES);
    FloatVector s1 = FloatVector.zero(SPECIES);
    FloatVector s2 = FloatVector.zero(SPECIES);
    FloatVector s3 = FloatVector.zero(SPECIES);
    FloatVector s4 = FloatVector.zero(SPECIES);
    FloatVector s5 = FloatVector.zero(SPECIES);
    FloatVector s6 = FloatVector.zero(SPECIES);
    FloatVector s7 = FloatVector.zero(SPECIES);
    FloatVector s8 = FloatVector.zero(SPECIES);
    FloatVector s9 = FloatVector.zero(SPECIES);
    FloatVector s10 = FloatVector.zero(SPECIES);
    FloatVector s11 = FloatVector.zero(SPECIES);
    for (int i = 0; i < STEPS; i++) {
      s0 = s0.fma(x, y);
      s1 = s1.fma(x, y);
      s2 = s2.fma(x, y);
      s3 = s3.fma(x, y);
      s4 = s4.fma(x, y);
      s5 = s5.fma(x, y);
      s6 = s6.fma(x, y);
      s7 = s7.fma(x, y);
      s8 = s8.fma(x, y);
      s9 = s9.fma(x, y);
      s10 = s10.fma(x, y);
      s11 = s11.fma(x, y);
    }
    s0.intoArray(sums, 0 * SPECIES.length());
    s1.intoArray(sums, 1 * SPECIES.length());
    s2.intoArray(sums, 2 * SPECIES.length());
    s3.intoArray(sums, 3 * SPECIES.length());
    s4.intoArray(sums, 4 * SPECIES.length());
    s5.intoArray(sums, 5 * SPECIES.length());
    s6.intoArray(sums, 6 * SPECIES.length());
    s7.intoArray(sums, 7 * SPECIES.length());
    s8.intoArray(sums, 8 * SPECIES.length());
    s9.intoArray(sums, 9 * SPECIES.length());
    s10.intoArray(sums, 10 * SPECIES.length());
    s11.intoArray(sums, 11 * SPECIES.length());
    work.megaflop += 2L * 12 * SPECIES.length() * STEPS / 1_000_000;
    return sums;
  }
}
