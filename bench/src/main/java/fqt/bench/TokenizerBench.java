package fqt.bench;

import fqt.models.tokenizer.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import java.util.concurrent.TimeUnit;
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
 * Tokenizing a million bytes, so that operations a second are megabytes a second. {@code prose} is
 * the evaluation text; {@code letter} repeats one letter, which takes a merge that is not
 * quadratic; {@code noise} is random words, which the cache of words cannot remember.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 3, time = 2)
@Measurement(iterations = 5, time = 2)
@Fork(3)
public class TokenizerBench {
  private static final int LENGTH = 1_000_000;

  @Param({"prose", "letter", "noise"})
  private String text;

  private Tokenizer tokenizer;
  private String input;

  /** Reads the tokenizer and makes the text. */
  @Setup
  public void prepare() throws IOException {
    Path fixtures = Path.of(System.getProperty("fqt.fixtures", "fixtures"));
    tokenizer = Tokenizer.load(fixtures.resolve("tiny-qwen2"));
    input =
        switch (text) {
          case "prose" -> repeat(Files.readString(fixtures.resolve("eval.txt")));
          case "letter" -> repeat("a");
          default -> noise();
        };
  }

  private static String repeat(String part) {
    return part.repeat(LENGTH / part.length() + 1).substring(0, LENGTH);
  }

  private static String noise() {
    StringBuilder out = new StringBuilder(LENGTH);
    new Random(1).ints(LENGTH, 0, 32).forEach(i -> out.append(i < 26 ? (char) ('a' + i) : ' '));
    return out.toString();
  }

  /** Text to ids. */
  @Benchmark
  public int[] encode() {
    return tokenizer.encode(input);
  }
}
