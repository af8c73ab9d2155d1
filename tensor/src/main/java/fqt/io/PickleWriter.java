package fqt.io;

import fqt.tensor.Tensor;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import net.razorvine.pickle.Opcodes;

/**
 * Writes plain values as a pickle: maps, lists, texts, integers, floating-point numbers, truth
 * values, null; what becomes of a tensor is the caller's choice. Nothing is shared, so a value that
 * occurs twice is written twice.
 */
final class PickleWriter {
  /** Writes a tensor into a pickle. */
  interface Tensors {
    void write(PickleWriter out, Tensor tensor);
  }

  private static final int MAX_DEPTH = 64;

  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final Tensors tensors;
  private int depth;

  PickleWriter(int protocol, Tensors tensors) {
    this.tensors = tensors;
    op(Opcodes.PROTO);
    out.write(protocol);
  }

  /** What was written since the last call. */
  byte[] take() {
    byte[] bytes = out.toByteArray();
    out.reset();
    return bytes;
  }

  void op(short opcode) {
    out.write(opcode);
  }

  void global(String module, String name) {
    op(Opcodes.GLOBAL);
    out.writeBytes((module + "\n" + name + "\n").getBytes(StandardCharsets.US_ASCII));
  }

  void value(Object value) {
    if (++depth > MAX_DEPTH) {
      throw new IllegalArgumentException("values are nested deeper than " + MAX_DEPTH);
    }
    switch (value) {
      case null -> op(Opcodes.NONE);
      case Boolean truth -> op(truth ? Opcodes.NEWTRUE : Opcodes.NEWFALSE);
      case Integer number -> integer(number);
      case Long number -> integer(number);
      case Double number -> number(number);
      case Float number -> number(number);
      case String text -> text(text);
      case Tensor tensor -> tensors.write(this, tensor);
      case Map<?, ?> map -> map(map);
      case Iterable<?> list -> list(list);
      default ->
          throw new IllegalArgumentException(
              "a pickle of plain values has no form for " + value.getClass().getName());
    }
    depth--;
  }

  void integer(long number) {
    if (number == (int) number) {
      op(Opcodes.BININT);
      little(Integer.BYTES, number);
    } else {
      op(Opcodes.LONG1);
      out.write(Long.BYTES);
      little(Long.BYTES, number);
    }
  }

  /** A tuple of integers. */
  void tuple(long[] numbers) {
    op(Opcodes.MARK);
    for (long number : numbers) {
      integer(number);
    }
    op(Opcodes.TUPLE);
  }

  void text(String text) {
    byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
    op(Opcodes.BINUNICODE);
    little(Integer.BYTES, utf8.length);
    out.writeBytes(utf8);
  }

  /** The least significant bytes of a number. */
  void little(int width, long number) {
    byte[] bytes =
        ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN).putLong(number).array();
    out.write(bytes, 0, width);
  }

  private void number(double number) {
    op(Opcodes.BINFLOAT);
    out.writeBytes(ByteBuffer.allocate(Double.BYTES).putDouble(number).array());
  }

  private void map(Map<?, ?> map) {
    op(Opcodes.EMPTY_DICT);
    op(Opcodes.MARK);
    for (Map.Entry<?, ?> entry : map.entrySet()) {
      if (!(entry.getKey() instanceof String || entry.getKey() instanceof Number)) {
        throw new IllegalArgumentException("a key must be text or a number: " + entry.getKey());
      }
      value(entry.getKey());
      value(entry.getValue());
    }
    op(Opcodes.SETITEMS);
  }

  private void list(Iterable<?> list) {
    op(Opcodes.EMPTY_LIST);
    op(Opcodes.MARK);
    list.forEach(this::value);
    op(Opcodes.APPENDS);
  }
}
