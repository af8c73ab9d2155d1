package fqt.cuda;

import fqt.tensor.Storage;
import java.util.ArrayList;
import java.util.List;

/**
 * What may still be on its way to memory when the next matrix product starts. A product may fetch
 * its weights before the kernel before it has ended ({@link MatmulOptions#withSettledWeights}), and
 * that one may have started early too. A plain kernel starts only when everything before it has
 * ended; those of {@link CudaQuantize} start early, but wait until then before they let the next
 * one start, which comes to the same. So weights are at rest if what was launched from the last
 * plain kernel on is known, to the last launch, and wrote something else. Nothing is assumed of
 * what models do with their weights: one that is written and used at once is waited for.
 *
 * <p>Launches are known by their number ({@link CudaContext#writes}); a launch in between that
 * nobody told of, by whatever thread, ends the knowledge.
 */
final class RecentWrites {
  private final List<Storage> written = new ArrayList<>();
  private long last = -1;

  /**
   * Tells of a plain kernel and all that it wrote.
   *
   * @param before launches before it, read before it was launched
   * @param now launches by now; if not one more, nothing is known
   */
  synchronized void plain(long before, long now, Storage... results) {
    written.clear();
    written.addAll(List.of(results));
    last = now == before + 1 ? now : -1;
  }

  /** Tells of a product, which may start early, and what it wrote; the counts as above. */
  synchronized void product(long before, long now, Storage result) {
    written.add(result);
    last = last == before && now == before + 1 ? now : -1;
    if (last < 0) {
      written.clear();
    }
  }

  /**
   * Whether a product may fetch these weights at once.
   *
   * @param now launches before the product
   */
  synchronized boolean leave(Storage weights, long now) {
    return last == now && !written.contains(weights);
  }
}
