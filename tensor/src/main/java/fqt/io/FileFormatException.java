package fqt.io;

import java.util.regex.Pattern;

/**
 * A file that is not what it claims to be. The message is one sentence on one line: which file,
 * where in it, what was expected and what was found. Control characters in it, which a hostile file
 * may have put there, appear as {@code ?}.
 */
public final class FileFormatException extends RuntimeException {
  private static final long serialVersionUID = 1;
  private static final Pattern CONTROL = Pattern.compile("[\\p{Cc}\\u2028\\u2029]");

  /**
   * A complaint about a file; the message starts with the file's name.
   *
   * @param message one sentence: file, place in it, expected, found
   */
  public FileFormatException(String message) {
    super(plain(message));
  }

  /**
   * A complaint that another exception led to.
   *
   * @param message one sentence: file, place in it, expected, found
   * @param cause what was thrown while the file was read
   */
  public FileFormatException(String message, Throwable cause) {
    super(plain(message), cause);
  }

  private static String plain(String message) {
    return CONTROL.matcher(message).replaceAll("?");
  }
}
