package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.time.Duration;
import org.junit.jupiter.api.Test;

/** Progress, tables and units as people see them. */
class ProgressTest {
  @Test
  void withoutTerminalEachPartIsALine() {
    assertEquals("layer 1/2: first%nlayer 2/2: second%n".formatted(), draw(0));
  }

  @Test
  void onATerminalOneLineIsRedrawnWithinItsWidth() {
    for (int columns : new int[] {20, 40, 80, 200}) {
      String drawn = draw(columns);
      assertTrue(drawn.contains("\r") && !drawn.contains("\n"), drawn);
      for (String line : drawn.split("\r")) {
        assertTrue(line.replace("\u001b[K", "").length() < columns, line);
      }
    }
    assertTrue(draw(80).contains("#"), draw(80));
  }

  private static String draw(int columns) {
    StringWriter text = new StringWriter();
    try (Progress progress = new Progress(new PrintWriter(text), columns, "layer", 2)) {
      progress.at(0.5, "working");
      progress.done(1, "first");
      progress.done(2, "second");
    }
    return text.toString();
  }

  @Test
  void numbersStandToTheRight() {
    String expected =
        String.join(System.lineSeparator(), "name    size", "a         12", "long  1234.5", "");
    assertEquals(expected, new Table("name", "size").row("a", 12).row("long", 1234.5).toString());
  }

  @Test
  void unitsAreShort() {
    assertEquals("1023 B", Units.bytes(1023));
    assertEquals("1.0 KiB", Units.bytes(1024));
    assertEquals("100 MiB", Units.bytes(100L << 20));
    assertEquals("1.0 MiB", Units.bytes((1L << 20) - 1));
    assertEquals("0.42 s", Units.time(Duration.ofMillis(420)));
    assertEquals("59.9 s", Units.time(Duration.ofMillis(59_900)));
    assertEquals("3:07 min", Units.time(Duration.ofSeconds(187)));
    assertEquals("1:02 h", Units.time(Duration.ofMinutes(62)));
  }
}
