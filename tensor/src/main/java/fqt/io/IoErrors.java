package fqt.io;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/** Turns what the operating system reports into one sentence that names the file. */
final class IoErrors {
  private IoErrors() {}

  static UncheckedIOException reading(Object source, IOException cause) {
    return new UncheckedIOException("cannot read " + source + ": " + reason(cause), cause);
  }

  static UncheckedIOException writing(Path path, IOException cause) {
    return new UncheckedIOException("cannot write " + path + ": " + reason(cause), cause);
  }

  private static String reason(IOException cause) {
    return switch (cause) {
      case NoSuchFileException missing -> "no such file";
      case FileNotFoundException missing -> "no such file";
      case AccessDeniedException denied -> "permission denied";
      case FileSystemException other when other.getReason() != null -> other.getReason();
      default -> cause.getMessage() == null ? cause.toString() : cause.getMessage();
    };
  }
}
