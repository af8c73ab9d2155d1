package fqt.bench;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;

/** PyTorch in a process of its own, timed on demand so that both sides can take turns. */
final class TorchPeer implements AutoCloseable {
  private final Process process;
  private final Writer commands;
  private final BufferedReader answers;

  /** Starts a script of {@code bench/peers}. */
  TorchPeer(String python, Path script) throws IOException {
    process =
        new ProcessBuilder(python, script.toString())
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    commands = process.outputWriter(StandardCharsets.UTF_8);
    answers =
        new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
  }

  /** Makes operands for a shape; the names of the products that can be timed. */
  List<String> shape(long m, long n, long k) {
    List<String> words = List.of(ask("shape %d %d %d".formatted(m, n, k)).split(";"));
    return words.subList(1, words.size());
  }

  /** Microseconds of GPU time for one product, from one replay of its graph. */
  double time(String name) {
    return Double.parseDouble(ask("time " + name));
  }

  /** Sets the threads of {@code bench/peers/torch_cpu.py}. */
  void threads(int count) {
    ask("threads " + count);
  }

  /** Makes operands on the CPU from a type and a shape; the names of the products. */
  List<String> operands(String words) {
    List<String> names = List.of(ask("shape " + words).split(";"));
    return names.subList(1, names.size());
  }

  /** Microseconds of host time for one call. */
  double call(String name) {
    return Double.parseDouble(ask("call " + name));
  }

  /** Bytes a second, read and written, of a copy on the GPU. */
  double copyRate() {
    return Double.parseDouble(ask("copy"));
  }

  private String ask(String command) {
    try {
      commands.write(command + "\n");
      commands.flush();
      String answer = answers.readLine();
      if (answer == null) {
        throw new IllegalStateException("the PyTorch process ended at '" + command + "'");
      }
      return answer;
    } catch (IOException e) {
      throw new UncheckedIOException("the PyTorch process does not answer " + command, e);
    }
  }

  @Override
  public void close() {
    process.destroy();
  }
}
