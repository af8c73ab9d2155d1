package fqt.cuda;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Loads JCuda's native libraries from a folder of our own. JCuda itself would unpack them to a
 * fixed name in the shared temporary folder, where others could place theirs first, and on a module
 * path it does not find them at all.
 */
final class Natives {
  private static final String TEMPORARY = "java.io.tmpdir";
  private static final String SUFFIX = "-12.6.0-linux-x86_64.so";

  private Natives() {}

  /**
   * Initializes a JCuda class, giving it its library.
   *
   * @param library such as {@code JCudaDriver}
   * @param owner name of the class that loads the library in its static initializer
   * @throws IllegalStateException if the library is missing or cannot be loaded
   */
  static synchronized void load(String library, String owner) {
    String file = "lib" + library + SUFFIX;
    String shared = System.getProperty(TEMPORARY);
    Path folder = null;
    try (InputStream bytes = Natives.class.getClassLoader().getResourceAsStream("lib/" + file)) {
      if (bytes == null) {
        throw new IllegalStateException(
            "lib/" + file + " is not on the module path; expected in jcuda-natives" + SUFFIX);
      }
      folder = Files.createTempDirectory("fqt-");
      Files.copy(bytes, folder.resolve(file));
      System.setProperty(TEMPORARY, folder.toString());
      Class.forName(owner, true, Natives.class.getClassLoader());
    } catch (IOException e) {
      throw new UncheckedIOException("cannot unpack " + file + ": " + e.getMessage(), e);
    } catch (ClassNotFoundException | LinkageError e) {
      throw new IllegalStateException("cannot load " + file + ": " + firstLine(e), e);
    } finally {
      System.setProperty(TEMPORARY, shared);
      remove(folder, file);
    }
  }

  /** A loaded library needs its file no more. */
  private static void remove(Path folder, String file) {
    if (folder != null) {
      try {
        Files.deleteIfExists(folder.resolve(file));
        Files.deleteIfExists(folder);
      } catch (IOException e) {
        throw new UncheckedIOException("cannot remove " + folder, e);
      }
    }
  }

  private static String firstLine(Throwable e) {
    String message = String.valueOf(e.getMessage());
    int end = message.indexOf('\n');
    return end < 0 ? message : message.substring(0, end);
  }
}
