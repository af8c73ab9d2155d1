package fqt.tools;

import java.io.PrintWriter;
import java.io.StringWriter;

/** What one command line gave. */
record CommandRun(int code, String out, String err) {
  /** Runs a command line in this process. */
  static CommandRun of(String... arguments) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    int code = Main.run(new PrintWriter(out), new PrintWriter(err), arguments);
    return new CommandRun(code, out.toString(), err.toString());
  }
}
