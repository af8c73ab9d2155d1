package fqt.quant.format;

import fqt.quant.Scheme;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;

/**
 * What a checkpoint's configuration must say of its tensors.
 *
 * @param base scheme of linears that need no exception, as {@link CheckpointFormat#prepare} gave it
 * @param quantized scheme of every quantized linear by full path, equal to the base or an exception
 * @param unquantized full paths of the linears that stayed in floating point, the head included
 * @param groupIndices whether linears have a group index (g_idx) that is not the trivial one
 * @param method what a reader may like to know of the algorithm, such as its damping
 */
public record CheckpointContents(
    Scheme base,
    SequencedMap<String, Scheme> quantized,
    List<String> unquantized,
    boolean groupIndices,
    Map<String, Object> method) {
  /** Copies the collections. */
  public CheckpointContents {
    quantized = Collections.unmodifiableSequencedMap(new LinkedHashMap<>(quantized));
    unquantized = List.copyOf(unquantized);
    method = Collections.unmodifiableMap(new LinkedHashMap<>(method));
  }
}
