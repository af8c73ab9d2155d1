package fqt.io;

import fqt.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** The head of a safetensors file that is being written: tensors follow each other as added. */
final class SafetensorsLayout {
  /** Data begins at a multiple of this, so that a mapped tensor is aligned for vector loads. */
  private static final int ALIGNMENT = 64;

  private final Map<String, Object> root = new LinkedHashMap<>();
  private long dataBytes;

  SafetensorsLayout(Map<String, String> metadata) {
    if (!metadata.isEmpty()) {
      root.put(SafetensorsHeader.METADATA, new TreeMap<>(metadata));
    }
  }

  /** Places a tensor behind those added before. */
  void add(String name, Tensor tensor) {
    if (name.equals(SafetensorsHeader.METADATA)) {
      throw new IllegalArgumentException("no tensor may be called '" + name + "'");
    }
    Map<String, Object> fields = new LinkedHashMap<>();
    fields.put("dtype", tensor.dtype().name());
    fields.put("shape", Arrays.stream(tensor.shape().toArray()).boxed().toList());
    fields.put("data_offsets", List.of(dataBytes, dataBytes + tensor.byteSize()));
    root.put(name, fields);
    dataBytes += tensor.byteSize();
  }

  /** Bytes of the tensors added so far. */
  long dataBytes() {
    return dataBytes;
  }

  /** Length field and header, padded with spaces to a multiple of the alignment. */
  byte[] encode() {
    byte[] json = Json.write(root).getBytes(StandardCharsets.UTF_8);
    int length = Math.ceilDiv(Long.BYTES + json.length, ALIGNMENT) * ALIGNMENT;
    return encode(json, length);
  }

  /** Length field and header, padded with spaces to exactly that length, or null if too long. */
  byte[] encode(int length) {
    byte[] json = Json.write(root).getBytes(StandardCharsets.UTF_8);
    return Long.BYTES + json.length <= length ? encode(json, length) : null;
  }

  private static byte[] encode(byte[] json, int length) {
    byte[] bytes = new byte[length];
    Arrays.fill(bytes, (byte) ' ');
    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putLong(length - Long.BYTES).put(json);
    return bytes;
  }
}
