package fqt.tools;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;

/** What a job that does not reach its end leaves for the user to read: that it can be continued. */
final class Interruption implements AutoCloseable {
  private final WorkFolder work;
  private final int blocks;
  private final PrintWriter err;
  private final Thread hook = new Thread(this::stopped, "fqt-interruption");

  /** Speaks up when the process is told to end, until closed. */
  Interruption(WorkFolder work, int blocks, PrintWriter err) {
    this.work = work;
    this.blocks = blocks;
    this.err = err;
    Runtime.getRuntime().addShutdownHook(hook);
  }

  private String finished() {
    int finished = work.journal().size();
    return finished == 0
        ? "nothing was finished yet"
        : "the same command continues after %d of %d blocks".formatted(finished, blocks);
  }

  /** The process was told to end, by Ctrl-C for one. */
  private void stopped() {
    say("interrupted; " + finished());
    if (work.journal().size() == 0) {
      try {
        WorkFolder.deleteTree(work.path());
      } catch (IOException | UncheckedIOException e) {
        say("cannot delete " + work.path() + ": " + Failures.sentence(e));
      }
    }
  }

  private void say(String sentence) {
    err.println("fqt quantize: " + sentence);
    err.flush();
  }

  /** The failure of a job, with the word that it can be continued. */
  RuntimeException explain(RuntimeException failure) {
    return work.journal().size() == 0
        ? failure
        : new IllegalStateException(Failures.sentence(failure) + "; " + finished(), failure);
  }

  /** Whether the process is ending; what fails then, fails because of it. */
  static boolean processEnds() {
    Thread probe = new Thread(() -> {});
    try {
      Runtime.getRuntime().addShutdownHook(probe);
      Runtime.getRuntime().removeShutdownHook(probe);
      return false;
    } catch (IllegalStateException ending) {
      return true;
    }
  }

  @Override
  public void close() {
    if (!processEnds()) {
      Runtime.getRuntime().removeShutdownHook(hook);
    }
  }
}
