package fqt.io;

/**
 * A file that is not what it claims to be. The message is one sentence: which file, where in it,
 * what was expected and what was found.
 */
public final class FileFormatException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** A complaint about a file; the message starts with the file's name. */
  public FileFormatException(String message) {
    super(message);
  }

  /** A complaint that another exception led to. */
  public FileFormatException(String message, Throwable cause) {
    super(message, cause);
  }
}
