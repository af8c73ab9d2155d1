package fqt.cuda;

import java.util.List;
import java.util.OptionalLong;

/**
 * Which checks of the GPU are run, as said on the command line.
 *
 * @param extent how many, and how large
 * @param kernels whether the matrix and quantize kernels are checked
 * @param backend whether the operations of the backend are checked
 * @param broken whether a broken context is checked at the end
 * @param seed of the inputs; empty for a fresh one
 * @param only parts of the titles of the checks that are run; empty for all
 */
record CheckChoice(
    Extent extent,
    boolean kernels,
    boolean backend,
    boolean broken,
    OptionalLong seed,
    List<String> only) {
  /** What the words may be. */
  static final String USAGE =
      "[tiny|quick] [kernels|backend] [broken] [SEED] [only PART_OF_A_TITLE...]";

  /** How many checks, and how large. */
  enum Extent {
    /** Every kernel with a few tiles and steps: for tools that slow memory a thousandfold. */
    TINY,
    /** Every kernel at least once. */
    QUICK,
    /** Also the shapes of layers, and many more random ones. */
    WHOLE;

    /** One of three numbers. */
    int of(int tiny, int quick, int whole) {
      return this == TINY ? tiny : this == QUICK ? quick : whole;
    }
  }

  static CheckChoice whole() {
    return of(List.of());
  }

  /**
   * Reads the words.
   *
   * @throws IllegalArgumentException if one is unknown
   */
  static CheckChoice of(List<String> words) {
    int end = words.contains("only") ? words.indexOf("only") : words.size();
    List<String> only = words.subList(Math.min(end + 1, words.size()), words.size());
    if (end < words.size() && only.isEmpty()) {
      throw new IllegalArgumentException("nothing follows 'only'; expected " + USAGE);
    }
    Extent extent = Extent.WHOLE;
    boolean kernels = false;
    boolean backend = false;
    boolean broken = false;
    OptionalLong seed = OptionalLong.empty();
    for (String word : words.subList(0, end)) {
      switch (word) {
        case "tiny" -> extent = Extent.TINY;
        case "quick" -> extent = Extent.QUICK;
        case "kernels" -> kernels = true;
        case "backend" -> backend = true;
        case "broken" -> broken = true;
        default -> seed = OptionalLong.of(seed(word));
      }
    }
    boolean both = kernels == backend;
    return new CheckChoice(
        extent, both || kernels, both || backend, broken, seed, List.copyOf(only));
  }

  private static long seed(String word) {
    try {
      return Long.parseLong(word);
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException("'%s' is unknown; expected %s".formatted(word, USAGE), e);
    }
  }

  /** Whether a check of this title is run. */
  boolean wants(String title) {
    return only.isEmpty() || only.stream().anyMatch(title::contains);
  }
}
