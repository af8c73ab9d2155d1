package fqt.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;

class CheckChoiceTest {
  private static CheckChoice of(String words) {
    return CheckChoice.of(List.of(words.split(" ")));
  }

  @Test
  void withoutWordsEverythingIsChecked() {
    CheckChoice choice = CheckChoice.whole();
    assertEquals(CheckChoice.Extent.WHOLE, choice.extent());
    assertTrue(choice.kernels() && choice.backend() && !choice.broken());
    assertTrue(choice.seed().isEmpty());
    assertTrue(choice.wants("anything"));
  }

  @Test
  void wordsNarrowTheChoice() {
    CheckChoice kernels = of("quick kernels 17");
    assertEquals(CheckChoice.Extent.QUICK, kernels.extent());
    assertTrue(kernels.kernels() && !kernels.backend());
    assertEquals(OptionalLong.of(17), kernels.seed());
    CheckChoice both = of("broken backend kernels");
    assertTrue(both.kernels() && both.backend() && both.broken());
    CheckChoice some = of("tiny backend only syrk layer norm");
    assertEquals(CheckChoice.Extent.TINY, some.extent());
    assertTrue(some.backend() && !some.kernels());
    assertTrue(some.wants("syrk of 3") && some.wants("a norm"));
    assertFalse(some.wants("copy"));
  }

  @Test
  void unknownWordsAreRefused() {
    for (String words : List.of("fast", "quick kernel", "only", "-")) {
      IllegalArgumentException refusal =
          assertThrows(IllegalArgumentException.class, () -> of(words));
      assertTrue(refusal.getMessage().endsWith(CheckChoice.USAGE), refusal.getMessage());
    }
  }
}
