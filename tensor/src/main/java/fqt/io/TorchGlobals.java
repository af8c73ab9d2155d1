package fqt.io;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * The constructors that a pickle may call, and what they make here. Nothing is ever looked up
 * outside of this list.
 */
final class TorchGlobals {
  private static final String ORDERED_DICT = "collections.OrderedDict";
  private static final String SIZE = "torch.Size";
  private static final String DEVICE = "torch.device";
  private static final String PARAMETER = "torch._utils._rebuild_parameter";
  private static final String TENSOR = "torch._utils._rebuild_tensor";
  private static final String TENSOR_2 = "torch._utils._rebuild_tensor_v2";
  private static final String TENSOR_3 = "torch._utils._rebuild_tensor_v3";
  private static final String FROM_BYTES = "torch.storage._load_from_bytes";
  private static final String ENCODE = "_codecs.encode";

  private static final int MAX_NAME = 100;
  private static final int MAX_RANK = 64;

  private static final Set<String> FUNCTIONS =
      Set.of(ORDERED_DICT, SIZE, DEVICE, PARAMETER, TENSOR, TENSOR_2, TENSOR_3, FROM_BYTES, ENCODE);

  /** A constructor by name, not yet called. */
  record Function(String name) {}

  /** Finds the storage that a persistent id names. */
  interface Storages {
    TorchStorage find(String key, TorchFormat format, long byteSize);
  }

  private final String source;
  private final Storages storages;
  private final int nesting;
  private final PickleBudget budget;

  /**
   * The constructors, for one file.
   *
   * @param storages finds the storages of a torch file; null in a plain pickle, which has none
   * @param nesting how many pickles this one is inside of
   * @param budget what the file's pickles may still take
   */
  TorchGlobals(String source, Storages storages, int nesting, PickleBudget budget) {
    this.source = source;
    this.storages = storages;
    this.nesting = nesting;
    this.budget = budget;
  }

  PickleBudget budget() {
    return budget;
  }

  /** A function or an element type. */
  Object find(String module, String member) {
    String name = abbreviated(module) + "." + abbreviated(member);
    if (FUNCTIONS.contains(name)) {
      return new Function(name);
    }
    TorchFormat format = TorchFormat.of(name);
    if (format == null) {
      throw new FileFormatException(
          source
              + ": the pickle asks for "
              + name.replaceAll("\\p{Cntrl}", "?")
              + ", which is not allowed");
    }
    return format;
  }

  private static String abbreviated(String name) {
    return name.length() > MAX_NAME ? name.substring(0, MAX_NAME) + "…" : name;
  }

  Object construct(Object callee, Object[] args) {
    if (!(callee instanceof Function function)) {
      throw new FileFormatException(source + ": the pickle calls what is no constructor");
    }
    return switch (function.name) {
      case ORDERED_DICT -> orderedDict(args);
      case SIZE, PARAMETER -> args[0];
      case DEVICE -> (String) args[0];
      case TENSOR, TENSOR_2 -> {
        TorchStorage storage = (TorchStorage) args[0];
        yield tensor(storage, storage.format(), args);
      }
      case TENSOR_3 -> tensor((TorchStorage) args[0], (TorchFormat) args[6], args);
      case FROM_BYTES ->
          TorchReader.readNested((MemorySegment) args[0], source, nesting + 1, budget);
      case ENCODE -> encode(args);
      default -> throw new IllegalStateException(function.name);
    };
  }

  private Map<Object, Object> orderedDict(Object[] args) {
    if (args.length > 0) {
      throw new FileFormatException(
          source + ": the pickle makes an OrderedDict of a list, as only Python 2 did");
    }
    return new LinkedHashMap<>();
  }

  private static TorchTensor tensor(TorchStorage storage, TorchFormat format, Object[] args) {
    return new TorchTensor(storage, format, number(args[1]), numbers(args[2]), numbers(args[3]));
  }

  private static long number(Object value) {
    return switch (value) {
      case Integer number -> number;
      case Long number -> number;
      default -> throw new ClassCastException("no integer of 64 bits: " + value.getClass());
    };
  }

  private static long[] numbers(Object tuple) {
    Object[] values = (Object[]) tuple;
    if (values.length > MAX_RANK) {
      throw new IllegalArgumentException("rank " + values.length);
    }
    long[] numbers = new long[values.length];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = number(values[i]);
    }
    return numbers;
  }

  /** How old protocols spell bytes: a text of the characters 0 to 255. */
  private MemorySegment encode(Object[] args) {
    if (!args[1].equals("latin1")) {
      throw new IllegalArgumentException("encoding " + args[1]);
    }
    budget.spendText(((String) args[0]).length());
    byte[] bytes = ((String) args[0]).getBytes(StandardCharsets.ISO_8859_1);
    return Arena.ofAuto().allocate(bytes.length).copyFrom(MemorySegment.ofArray(bytes));
  }

  /** The storage of {@code ("storage", type, key, location, count[, view])}. */
  TorchStorage storage(Object persistentId) {
    if (storages == null) {
      throw new FileFormatException(source + ": the pickle refers to data outside of it");
    }
    Object[] id = (Object[]) persistentId;
    if (!id[0].equals("storage") || id.length < 5 || id.length > 5 && id[5] != null) {
      throw new FileFormatException(source + ": the pickle refers to data that is no storage");
    }
    TorchFormat format = (TorchFormat) id[1];
    long count = number(id[4]);
    if (count < 0 || count > Long.MAX_VALUE / format.byteSize()) {
      throw new FileFormatException(source + ": a storage has " + count + " elements");
    }
    return storages.find((String) id[2], format, count * format.byteSize());
  }
}
