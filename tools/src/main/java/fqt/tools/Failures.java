package fqt.tools;

import fqt.cuda.CudaException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;

/** Turns what was thrown into the one sentence that the command line shows. */
final class Failures {
  private Failures() {}

  /** The sentence for a failure. */
  static String sentence(Throwable failure) {
    Throwable cause = unwrap(failure);
    String message = cause.getMessage();
    return switch (cause) {
      case NoSuchFileException missing -> "no such file: " + missing.getFile();
      case AccessDeniedException denied -> "no permission for " + denied.getFile();
      case FileAlreadyExistsException exists -> exists.getFile() + " exists already";
      case NotDirectoryException file -> file.getFile() + " is not a folder";
      case DirectoryNotEmptyException full -> full.getFile() + " is not empty";
      case FileSystemException other when other.getReason() != null ->
          other.getFile() + ": " + oneLine(other.getReason());
      case InternalError fault when String.valueOf(message).contains("memory access") ->
          "a file that was being read was cut off, or its disk failed";
      case OutOfMemoryError full ->
          "out of memory (" + oneLine(message) + "); FQT_OPTS=-Xmx… gives the Java heap more";
      case CudaException full when full.isOutOfMemory() ->
          oneLine(message) + "; shorter inputs need less, and --device cpu has the host's memory";
      case Throwable plain when message != null && isOurs(plain) -> oneLine(message);
      default -> "internal error, " + oneLine(cause.toString()) + " (--verbose shows where)";
    };
  }

  /** A message without line breaks. */
  static String oneLine(String message) {
    return message == null ? "no reason given" : message.strip().replaceAll("\\s*\\R\\s*", "; ");
  }

  /** What a wrapper that adds no words of its own wraps. */
  private static Throwable unwrap(Throwable failure) {
    Throwable cause = failure;
    while (cause.getCause() != null
        && (cause instanceof UncheckedIOException
            || cause instanceof ExecutionException
            || cause instanceof CompletionException)
        && cause.getCause().toString().equals(cause.getMessage())) {
      cause = cause.getCause();
    }
    return cause;
  }

  /** Whether a message was written for the user rather than for the programmer. */
  private static boolean isOurs(Throwable failure) {
    return !(failure instanceof NullPointerException
            || failure instanceof ClassCastException
            || failure instanceof ArrayIndexOutOfBoundsException
            || failure instanceof StringIndexOutOfBoundsException
            || failure instanceof Error && !(failure instanceof AssertionError))
        || failure instanceof IOException;
  }
}
