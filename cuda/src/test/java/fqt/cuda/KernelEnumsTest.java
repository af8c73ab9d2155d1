package fqt.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.tensor.BinaryOp;
import fqt.tensor.DType;
import fqt.tensor.ReduceOp;
import fqt.tensor.UnaryOp;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Kernels know types and operations by number; the numbers are those that the host sends. */
class KernelEnumsTest {
  @Test
  void typesAreNumberedAlike() throws IOException {
    List<String> types =
        Stream.of(DType.values())
            .sorted(Comparator.comparingLong(Launcher::code))
            .map(Enum::name)
            .toList();
    assertEquals(0, Launcher.code(DType.valueOf(types.getFirst())));
    assertEquals(types, names("elements.cuh", "Type"));
  }

  @Test
  void operationsAreNumberedAlike() throws IOException {
    assertEquals(names(BinaryOp.values()), names("pointwise.cu", "Binary"));
    assertEquals(names(UnaryOp.values()), names("pointwise.cu", "Unary"));
    assertEquals(names(ReduceOp.values()), names("reduce.cu", "Reduce"));
  }

  private static List<String> names(Enum<?>[] values) {
    return Arrays.stream(values).map(Enum::name).toList();
  }

  /** The constants of an enum of a kernel source. */
  private static List<String> names(String file, String type) throws IOException {
    String source = Files.readString(Path.of("src/main/cuda", file));
    Matcher matcher = Pattern.compile("enum " + type + " : uint32_t \\{([^}]+)}").matcher(source);
    assertTrue(matcher.find(), type + " in " + file);
    return Stream.of(matcher.group(1).split(",")).map(String::strip).toList();
  }
}
