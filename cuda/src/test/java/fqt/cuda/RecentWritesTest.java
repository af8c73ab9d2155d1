package fqt.cuda;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.tensor.Ops;
import fqt.tensor.Storage;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

/** When weights count as being at rest: the numbers are those of launches. */
class RecentWritesTest {
  private final Storage weights = storage();
  private final Storage codes = storage();
  private final Storage result = storage();
  private final RecentWrites recent = new RecentWrites();

  private static Storage storage() {
    return Ops.of(new float[] {1}, 1).storage();
  }

  @Test
  void nothingIsKnownAtFirst() {
    assertFalse(recent.leave(weights, 0));
    recent.product(0, 1, result);
    assertFalse(recent.leave(weights, 1));
  }

  @Test
  void aPlainKernelSettlesAllButWhatItWrote() {
    recent.plain(5, 6, codes);
    assertTrue(recent.leave(weights, 6));
    assertFalse(recent.leave(codes, 6));
  }

  @Test
  void anyOtherLaunchEndsTheKnowledge() {
    recent.plain(5, 6, codes);
    assertFalse(recent.leave(weights, 7));
    recent.product(7, 8, result);
    assertFalse(recent.leave(weights, 8));
  }

  @Test
  void productsThatFollowAddWhatTheyWrote() {
    recent.plain(5, 6, codes);
    recent.product(6, 7, result);
    assertTrue(recent.leave(weights, 7));
    assertFalse(recent.leave(codes, 7));
    assertFalse(recent.leave(result, 7));
    recent.plain(7, 8, codes);
    assertTrue(recent.leave(result, 8));
  }

  @Test
  void countsThatDoNotFitGiveNoKnowledge() {
    recent.plain(5, 5, codes);
    assertFalse(recent.leave(weights, 5));
    recent.plain(5, 7, codes);
    assertFalse(recent.leave(weights, 7));
    recent.plain(7, 8, codes);
    recent.product(8, 10, result);
    assertFalse(recent.leave(weights, 10));
  }

  /** What {@link RecentWrites} says of these kernels, as it stands in their PTX. */
  @Test
  void quantizeKernelsWaitBeforeTheyLetTheNextOneStart() {
    String ptx = new String(KernelSet.read("quantize_sm90a"), StandardCharsets.US_ASCII);
    String[] kernels = ptx.split("\\.entry quantize_");
    assertTrue(kernels.length > 1);
    for (int i = 1; i < kernels.length; i++) {
      int waits = kernels[i].indexOf("griddepcontrol.wait");
      int releases = kernels[i].indexOf("griddepcontrol.launch_dependents");
      String name = kernels[i].substring(0, kernels[i].indexOf('('));
      assertTrue(waits >= 0 && waits < releases, name);
    }
  }
}
