package fqt.quant.flow;

import fqt.io.Io;
import fqt.nn.LayerArgs;
import fqt.tensor.AttentionMask;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * A recorded generation: what the first layer of a model saw, the prompt in one entry and every
 * generated token in one more, joined to one sequence.
 *
 * <p>A file holds a map of lists of tensors. Rotary tables are stacked, cosines before sines, F32
 * [2, tokens, rotary dimensions / 2], as we record them. Files that the Python FQT recorded are
 * read too: inputs [1, tokens, features] in any float type, and rotary tables as pairs [1, tokens,
 * rotary dimensions] whose halves are the same.
 *
 * @param hidden F32 [tokens, features]
 * @param args rotary tables, if there are any, and a causal mask
 */
public record RecordedFile(Tensor hidden, LayerArgs args) {
  /** Name of the inputs of the first layer. */
  public static final String INPUT = "model_input";

  /** Name of the rotary tables. */
  public static final String POSITIONS = "model_pos_embed";

  /**
   * {@return rotary tables as they are recorded, in the current scope}
   *
   * @param args with tables F32 [tokens, dimensions / 2]
   */
  public static Tensor stacked(LayerArgs args) {
    Tensor both = Ops.concatRows(args.cos(), args.sin());
    return both.reshape(2, args.cos().dim(0), args.cos().dim(1));
  }

  /**
   * {@return what a file holds, in the current scope}
   *
   * @param path ending in {@code .safetensors} or {@code .pkl}
   * @throws IllegalArgumentException if the recording is incomplete
   */
  public static RecordedFile read(Path path) {
    if (!(Io.load(path) instanceof Map<?, ?> recording)) {
      throw new IllegalArgumentException(path + " holds no map of recorded lists");
    }
    List<?> states = list(path, recording, INPUT);
    if (states.isEmpty()) {
      throw new IllegalArgumentException(path + " holds no recorded list " + INPUT);
    }
    Tensor hidden = joined(states.stream().map(state -> matrix(path, INPUT, state)).toList());
    List<Tensor> cos = new ArrayList<>();
    List<Tensor> sin = new ArrayList<>();
    for (Object entry : list(path, recording, POSITIONS)) {
      addTables(path, entry, cos, sin);
    }
    long tokens = hidden.dim(0);
    requireTokens(path, cos, tokens);
    requireTokens(path, sin, tokens);
    AttentionMask mask = AttentionMask.causal(tokens);
    return new RecordedFile(hidden, new LayerArgs(joined(cos), joined(sin), mask, null));
  }

  private static List<?> list(Path path, Map<?, ?> recording, String name) {
    Object value = recording.get(name);
    if (value != null && !(value instanceof List<?>)) {
      throw new IllegalArgumentException(path + ": recorded " + name + " is no list");
    }
    return value == null ? List.of() : (List<?>) value;
  }

  /** Cosines and sines of one call, stacked as we record them or a pair as Python does. */
  private static void addTables(Path path, Object entry, List<Tensor> cos, List<Tensor> sin) {
    String name = POSITIONS;
    if (entry instanceof Tensor both && both.rank() == 3 && both.dim(0) == 2) {
      cos.add(matrix(path, name, both.select(0, 0)));
      sin.add(matrix(path, name, both.select(0, 1)));
    } else if (entry instanceof List<?> pair && pair.size() == 2) {
      cos.add(half(path, matrix(path, name, pair.get(0))));
      sin.add(half(path, matrix(path, name, pair.get(1))));
    } else {
      throw new IllegalArgumentException(
          "%s: recorded %s has the entry %s; expected [2, tokens, dimensions] or a pair"
              .formatted(path, name, entry));
    }
  }

  /** The first half of the columns, which the second repeats. */
  private static Tensor half(Path path, Tensor table) {
    long columns = table.dim(1);
    Tensor first = Ops.contiguous(table.slice(1, 0, columns / 2));
    Tensor second = Ops.contiguous(table.slice(1, columns / 2, columns));
    if (columns % 2 != 0 || !Arrays.equals(first.toFloats(), second.toFloats())) {
      throw new IllegalArgumentException(
          "%s: a recorded rotary table %s does not repeat its first half in its second"
              .formatted(path, table));
    }
    return first;
  }

  /** A recorded tensor in F32, without a batch of one around it. */
  private static Tensor matrix(Path path, String name, Object entry) {
    if (entry instanceof Tensor tensor && tensor.dtype().isFloat()) {
      boolean batch = tensor.rank() == 3 && tensor.dim(0) == 1;
      Tensor matrix = batch ? tensor.select(0, 0) : tensor;
      if (matrix.rank() == 2) {
        return Ops.to(Ops.contiguous(matrix), DType.F32);
      }
    }
    throw new IllegalArgumentException(
        "%s: recorded %s has the entry %s; expected floats [tokens, features]"
            .formatted(path, name, entry));
  }

  /** The entries of a list one below the other, or null if there are none. */
  private static Tensor joined(List<Tensor> parts) {
    return parts.isEmpty()
        ? null
        : Ops.concatRows(parts.getFirst(), parts.subList(1, parts.size()).toArray(Tensor[]::new));
  }

  private static void requireTokens(Path path, List<Tensor> tables, long tokens) {
    long found = tables.stream().mapToLong(table -> table.dim(0)).sum();
    if (!tables.isEmpty() && found != tokens) {
      throw new IllegalArgumentException(
          "%s: recorded %s has %d tokens, the inputs have %d"
              .formatted(path, POSITIONS, found, tokens));
    }
  }
}
