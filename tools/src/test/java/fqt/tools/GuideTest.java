package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * The guide in {@code docs/}, tried out. By the word after the fence:
 *
 * <ul>
 *   <li>{@code console}: what follows {@code $} is run, in a folder of the page's own with {@code
 *       fixtures} and {@code lib} in it, and must print what stands below; {@code …} stands for
 *       anything. {@code console fails} expects the last command to fail.
 *   <li>{@code java}: compiled, a class as it is, statements inside a method.
 *   <li>{@code java excerpt FILE}: stands in that file, but for white space.
 *   <li>{@code xml}: Maven coordinates, which are those of our modules.
 *   <li>{@code text}: no code.
 * </ul>
 */
class GuideTest {
  private static final Path ROOT = Path.of(System.getProperty("fqt.fixtures")).getParent();

  private static final Pattern DEPENDENCY =
      Pattern.compile(
          "<groupId>io.github.fullquant</groupId>\\s*"
              + "<artifactId>fqt-(\\w+)</artifactId>\\s*<version>([^<]+)</version>");

  @TestFactory
  List<DynamicContainer> pages() throws IOException {
    Path folder = Path.of("target", "guide").toAbsolutePath();
    delete(folder);
    List<DynamicContainer> pages = new ArrayList<>();
    try (Stream<Path> files = Files.list(ROOT.resolve("docs"))) {
      for (Path page : files.filter(file -> file.toString().endsWith(".md")).sorted().toList()) {
        GuideShell shell = GuideShell.in(folder.resolve(page.getFileName()), ROOT);
        List<DynamicTest> blocks =
            GuideBlock.of(page).stream()
                .map(
                    block ->
                        DynamicTest.dynamicTest(
                            "line %d, %s".formatted(block.line(), block.kind()),
                            () -> tryOut(block, shell)))
                .toList();
        pages.add(DynamicContainer.dynamicContainer(page.getFileName().toString(), blocks));
      }
    }
    return pages;
  }

  /** Deletes what the last run left; links are not followed. */
  private static void delete(Path folder) throws IOException {
    if (Files.exists(folder)) {
      try (Stream<Path> files = Files.walk(folder)) {
        for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
          Files.delete(file);
        }
      }
    }
  }

  private static void tryOut(GuideBlock block, GuideShell shell) throws Exception {
    switch (block.kind()) {
      case "console" -> shell.run(block.text(), block.detail().equals("fails"));
      case "java" -> {
        if (block.detail().startsWith("excerpt ")) {
          assertExcerpt(block.text(), ROOT.resolve(block.detail().substring(8)));
        } else {
          shell.compile(block.text());
        }
      }
      case "xml" -> assertCoordinates(block.text());
      case "text" -> {}
      default -> fail("a block of kind '" + block.kind() + "' is not tried out");
    }
  }

  private static void assertExcerpt(String excerpt, Path source) throws IOException {
    String words = excerpt.strip().replaceAll("\\s+", " ");
    String all = Files.readString(source).replaceAll("\\s+", " ");
    assertTrue(all.contains(words), source + " does not hold: " + words);
  }

  /** Every dependency on us names a module that there is, in its version. */
  private static void assertCoordinates(String text) throws IOException {
    Matcher dependency = DEPENDENCY.matcher(text);
    boolean found = false;
    while (dependency.find()) {
      found = true;
      Path pom = ROOT.resolve(dependency.group(1)).resolve("pom.xml");
      assertTrue(Files.exists(pom), "there is no " + pom);
      String version = "<version>" + dependency.group(2) + "</version>";
      assertTrue(Files.readString(pom).contains(version), pom + " has another version");
    }
    assertTrue(found, "no dependency on a module of ours");
  }
}
