package fqt.io;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import net.razorvine.pickle.Opcodes;
import net.razorvine.pickle.Unpickler;

/**
 * Reads pickles as data. Only opcodes that build plain values are obeyed, and only the constructors
 * that {@link TorchGlobals} lists; every other is refused by name. Byte strings stay views of the
 * file. The number of opcodes and the bytes of text are bounded, so that memory is.
 */
final class StrictUnpickler extends Unpickler {
  private static final int MAX_NAME = 200;

  private final TorchGlobals globals;
  private PickleInput pickle;

  StrictUnpickler(TorchGlobals globals) {
    this.globals = globals;
  }

  /**
   * Reads one pickle, up to its end, from a stream that may go on.
   *
   * @throws FileFormatException if it is malformed or asks for what is not allowed
   */
  Object read(PickleInput from) {
    pickle = from;
    long begin = from.position();
    try {
      return load(from);
    } catch (FileFormatException e) {
      throw e;
    } catch (IOException | RuntimeException e) {
      // The library meets malformed pickles with whatever exception comes first.
      throw new FileFormatException(
          "%s: the pickle at byte %d is malformed before byte %d"
              .formatted(from.source(), begin, from.position()),
          e);
    }
  }

  @Override
  protected Object dispatch(short key) throws IOException {
    globals.budget().spendOpcode();
    switch (key) {
      case Opcodes.BINUNICODE, Opcodes.BINSTRING -> countText(Integer.BYTES);
      case Opcodes.BINUNICODE8 -> countText(Long.BYTES);
      case Opcodes.SHORT_BINUNICODE, Opcodes.SHORT_BINSTRING, Opcodes.LONG1 -> countText(1);
      case Opcodes.MARK,
          Opcodes.STOP,
          Opcodes.POP,
          Opcodes.BININT,
          Opcodes.BININT1,
          Opcodes.BININT2,
          Opcodes.BINFLOAT,
          Opcodes.NONE,
          Opcodes.NEWTRUE,
          Opcodes.NEWFALSE,
          Opcodes.EMPTY_TUPLE,
          Opcodes.TUPLE,
          Opcodes.TUPLE1,
          Opcodes.TUPLE2,
          Opcodes.TUPLE3,
          Opcodes.EMPTY_LIST,
          Opcodes.APPEND,
          Opcodes.BINGET,
          Opcodes.LONG_BINGET,
          Opcodes.BINPUT,
          Opcodes.LONG_BINPUT,
          Opcodes.MEMOIZE,
          Opcodes.PROTO,
          Opcodes.FRAME -> {
        // Safe as the library does them.
      }
      default -> {
        obey(key);
        return NO_RETURN_VALUE;
      }
    }
    return super.dispatch(key);
  }

  /** The opcodes that the library obeys too freely, too slowly or in the wrong order. */
  private void obey(short key) {
    switch (key) {
      case Opcodes.SHORT_BINBYTES -> stack.add(pickle.readCounted(1));
      case Opcodes.BINBYTES -> stack.add(pickle.readCounted(Integer.BYTES));
      case Opcodes.BINBYTES8, Opcodes.BYTEARRAY8 -> stack.add(pickle.readCounted(Long.BYTES));
      case Opcodes.EMPTY_DICT -> stack.add(new LinkedHashMap<Object, Object>());
      case Opcodes.SETITEM -> setItems(popped(2));
      case Opcodes.SETITEMS -> setItems(stack.pop_all_since_marker());
      case Opcodes.APPENDS -> append(stack.pop_all_since_marker());
      case Opcodes.POP_MARK -> stack.pop_all_since_marker();
      case Opcodes.GLOBAL -> stack.add(globals.find(line(), line()));
      case Opcodes.STACK_GLOBAL -> {
        List<Object> names = popped(2);
        stack.add(globals.find((String) names.get(0), (String) names.get(1)));
      }
      case Opcodes.REDUCE -> {
        List<Object> call = popped(2);
        stack.add(globals.construct(call.get(0), (Object[]) call.get(1)));
      }
      case Opcodes.BINPERSID -> stack.add(globals.storage(stack.pop()));
      case Opcodes.BUILD -> {
        stack.pop();
        if (!(stack.peek() instanceof Map)) {
          throw refused("sets the state of an object that is not a dict");
        }
      }
      default -> throw refused("uses opcode 0x%02x, which is not allowed".formatted(key));
    }
  }

  private void countText(int width) {
    globals.budget().spendText(pickle.peekLength(width));
  }

  private List<Object> popped(int count) {
    List<Object> values = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      values.add(stack.pop());
    }
    Collections.reverse(values);
    return values;
  }

  @SuppressWarnings("unchecked")
  private void setItems(List<Object> items) {
    Map<Object, Object> dict = (Map<Object, Object>) stack.peek();
    if (items.size() % 2 != 0) {
      throw refused("sets a key without a value");
    }
    for (int i = 0; i < items.size(); i += 2) {
      Object key = items.get(i);
      if (!(key instanceof String || key instanceof Number || key instanceof Boolean)) {
        throw refused("has a dict key that is neither text nor number");
      }
      dict.put(key, items.get(i + 1));
    }
  }

  @SuppressWarnings("unchecked")
  private void append(List<Object> items) {
    ((ArrayList<Object>) stack.peek()).addAll(items);
  }

  private String line() {
    StringBuilder text = new StringBuilder();
    for (int c = pickle.read(); c != '\n'; c = pickle.read()) {
      if (c < 0 || text.length() > MAX_NAME) {
        throw refused("names a constructor without end");
      }
      text.append((char) c);
    }
    return text.toString();
  }

  private FileFormatException refused(String what) {
    return new FileFormatException(
        "%s: the pickle %s, before byte %d".formatted(pickle.source(), what, pickle.position()));
  }

  /** The bytes of a view, for the few that are needed on the heap. */
  static byte[] bytes(MemorySegment view) {
    return view.toArray(ValueLayout.JAVA_BYTE);
  }
}
