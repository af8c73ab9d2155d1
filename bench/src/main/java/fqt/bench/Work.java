package fqt.bench;

import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;

/** Counts what was computed and read; JMH prints both divided by the seconds they took. */
@AuxCounters(AuxCounters.Type.OPERATIONS)
@State(Scope.Thread)
public class Work {
  /** Floating-point operations, in millions. */
  public long megaflop;

  /** Bytes of operands that must be read at least once, in millions. */
  public long megabyte;

  /** Starts each iteration at nothing. */
  @Setup(Level.Iteration)
  public void clear() {
    megaflop = 0;
    megabyte = 0;
  }
}
