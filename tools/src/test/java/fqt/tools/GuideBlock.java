package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * A block of code in a page of the guide.
 *
 * @param line where it begins in the page
 * @param kind first word after the fence
 * @param detail what follows it on that line
 */
record GuideBlock(int line, String kind, String detail, String text) {
  private static final String FENCE = "```";

  /** The blocks of a page, in their order. */
  static List<GuideBlock> of(Path page) throws IOException {
    List<GuideBlock> blocks = new ArrayList<>();
    List<String> lines = Files.readAllLines(page);
    for (int i = 0; i < lines.size(); i++) {
      if (lines.get(i).startsWith(FENCE)) {
        int end = i + 1;
        while (end < lines.size() && !lines.get(end).equals(FENCE)) {
          end++;
        }
        assertTrue(end < lines.size(), page + ":" + (i + 1) + " opens a block that never ends");
        String[] info = lines.get(i).substring(FENCE.length()).split(" ", 2);
        String text = String.join("\n", lines.subList(i + 1, end)) + "\n";
        blocks.add(new GuideBlock(i + 1, info[0], info.length == 1 ? "" : info[1], text));
        i = end;
      }
    }
    return blocks;
  }
}
