package fqt.io;

import fqt.tensor.DType;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Turns what a pickle built into plain values: maps, lists, texts, numbers, truth values, null and
 * tensors. A value that contains itself, that is nested too deeply, or that would be huge if its
 * shared parts were written out, is refused.
 */
final class PlainValues {
  private static final int MAX_DEPTH = 64;
  private static final long MAX_NODES = 1L << 24;

  /** A converted container and how many values it holds, counted as often as they occur. */
  private record Done(Object value, long nodes) {}

  /** Marks a container that is being converted. */
  private static final Done OPEN = new Done(null, 0);

  private final String source;

  /** What was converted already; what is shared in the pickle stays shared. */
  private final Map<Object, Done> converted = new IdentityHashMap<>();

  private PlainValues(String source) {
    this.source = source;
  }

  static Object of(Object pickled, String source) {
    return new PlainValues(source).convert(pickled, 0).value;
  }

  private Done convert(Object value, int depth) {
    return switch (value) {
      case null -> leaf(null);
      case String text -> leaf(text);
      case Boolean truth -> leaf(truth);
      case Integer number -> leaf(number.longValue());
      case Number number -> leaf(number);
      case TorchFormat format -> leaf("torch." + format.name());
      case TorchTensor tensor ->
          converted.computeIfAbsent(tensor, unused -> leaf(tensor.resolve(source)));
      case TorchStorage storage -> leaf(flat(storage));
      case MemorySegment bytes -> leaf(Tensor.of(bytes, DType.U8, Shape.of(bytes.byteSize())));
      case Map<?, ?> map -> container(map, depth);
      case List<?> list -> container(list, depth);
      case Object[] tuple -> container(tuple, depth);
      default ->
          throw new FileFormatException(
              source + ": the pickle leaves a constructor uncalled or a mark on its stack");
    };
  }

  private static Done leaf(Object value) {
    return new Done(value, 1);
  }

  private Tensor flat(TorchStorage storage) {
    long count = storage.byteSize() / storage.format().byteSize();
    return new TorchTensor(storage, storage.format(), 0, new long[] {count}, new long[] {1})
        .resolve(source);
  }

  private Done container(Object value, int depth) {
    Done known = converted.get(value);
    if (known == OPEN) {
      throw new FileFormatException(source + ": a value contains itself");
    }
    if (known != null) {
      return known;
    }
    if (depth == MAX_DEPTH) {
      throw new FileFormatException(source + ": values are nested deeper than " + MAX_DEPTH);
    }
    converted.put(value, OPEN);
    Done done =
        switch (value) {
          case Map<?, ?> map -> map(map, depth);
          case Object[] tuple -> list(Arrays.asList(tuple), depth);
          default -> list((List<?>) value, depth);
        };
    if (done.nodes > MAX_NODES) {
      throw new FileFormatException(source + ": more than " + MAX_NODES + " values");
    }
    converted.put(value, done);
    return done;
  }

  private Done map(Map<?, ?> map, int depth) {
    Map<Object, Object> plain = LinkedHashMap.newLinkedHashMap(map.size());
    long nodes = 1;
    for (Map.Entry<?, ?> entry : map.entrySet()) {
      Done value = convert(entry.getValue(), depth + 1);
      plain.put(convert(entry.getKey(), depth + 1).value, value.value);
      nodes += value.nodes;
    }
    return new Done(plain, nodes);
  }

  private Done list(List<?> list, int depth) {
    List<Object> plain = new ArrayList<>(list.size());
    long nodes = 1;
    for (Object element : list) {
      Done value = convert(element, depth + 1);
      plain.add(value.value);
      nodes += value.nodes;
    }
    return new Done(plain, nodes);
  }
}
