package fqt.io;

import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import net.razorvine.pickle.Opcodes;

/**
 * Writes plain values and tensors as PyTorch does: {@code torch.load(path, weights_only=True)}
 * reads the zip format, {@code pickle.load} the pickle. A tensor that occurs twice shares one
 * storage in the zip format; views of one storage are written apart.
 */
final class TorchWriter {
  private static final String REBUILD = "torch._utils";
  private static final int ZIP_PROTOCOL = 2;

  /** The first protocol whose byte strings may exceed 4 GiB. */
  private static final int PICKLE_PROTOCOL = 4;

  private TorchWriter() {}

  /** The zip format of {@code torch.save}. */
  static void writeZip(Path path, Object value) {
    Map<Tensor, String> keys = new IdentityHashMap<>();
    PickleWriter pickle =
        new PickleWriter(
            ZIP_PROTOCOL,
            (out, tensor) ->
                rebuild(
                    out,
                    tensor,
                    () -> {
                      String key = keys.get(tensor);
                      if (key == null) {
                        key = Integer.toString(keys.size());
                        keys.put(tensor, key);
                      }
                      persistentStorage(out, tensor, key, false);
                    }));
    pickle.value(value);
    pickle.op(Opcodes.STOP);
    String folder = path.getFileName().toString().replaceFirst("\\.[^.]*$", "") + "/";
    try (AtomicFile file = AtomicFile.create(path)) {
      StoredZipWriter zip = new StoredZipWriter(file);
      zip.add(folder + "data.pkl", MemorySegment.ofArray(pickle.take()));
      zip.add(folder + "byteorder", MemorySegment.ofArray(ascii("little")));
      keys.entrySet().stream()
          .sorted((a, b) -> Integer.compare(number(a.getValue()), number(b.getValue())))
          .forEach(entry -> addStorage(zip, folder + "data/" + entry.getValue(), entry.getKey()));
      zip.add(folder + "version", MemorySegment.ofArray(ascii("3\n")));
      zip.finish();
      file.commit();
    }
  }

  private static int number(String key) {
    return Integer.parseInt(key);
  }

  private static void addStorage(StoredZipWriter zip, String name, Tensor tensor) {
    try (Scope scope = Scope.open()) {
      zip.add(name, onHost(tensor).segment());
    }
  }

  private static Tensor onHost(Tensor tensor) {
    return Ops.contiguous(Ops.to(tensor, Device.CPU));
  }

  /** A pickle that Python reads with torch imported; each tensor carries its storage. */
  static void writePickle(Path path, Object value) {
    try (AtomicFile file = AtomicFile.create(path)) {
      PickleWriter pickle =
          new PickleWriter(
              PICKLE_PROTOCOL,
              (out, tensor) -> rebuild(out, tensor, () -> embeddedStorage(out, tensor, file)));
      pickle.value(value);
      pickle.op(Opcodes.STOP);
      file.write(pickle.take());
      file.commit();
    }
  }

  /** A call that makes a tensor of a storage, which the given action writes. */
  private static void rebuild(PickleWriter out, Tensor tensor, Runnable storage) {
    TorchFormat format = TorchFormat.of(tensor.dtype());
    out.global(REBUILD, isTyped(format) ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3");
    out.op(Opcodes.MARK);
    storage.run();
    out.integer(0);
    out.tuple(tensor.shape().toArray());
    out.tuple(tensor.shape().contiguousStrides());
    out.op(Opcodes.NEWFALSE);
    out.global("collections", "OrderedDict");
    out.op(Opcodes.EMPTY_TUPLE);
    out.op(Opcodes.REDUCE);
    if (!isTyped(format)) {
      out.global("torch", format.name());
    }
    out.op(Opcodes.TUPLE);
    out.op(Opcodes.REDUCE);
  }

  private static boolean isTyped(TorchFormat format) {
    return format.storage() != null;
  }

  private static void persistentStorage(
      PickleWriter out, Tensor tensor, String key, boolean oldFormat) {
    TorchFormat format = TorchFormat.of(tensor.dtype());
    out.op(Opcodes.MARK);
    out.text("storage");
    if (isTyped(format)) {
      out.global("torch", format.storage());
    } else {
      out.global("torch.storage", "UntypedStorage");
    }
    out.text(key);
    out.text("cpu");
    out.integer(tensor.count());
    if (oldFormat) {
      out.op(Opcodes.NONE);
    }
    out.op(Opcodes.TUPLE);
    out.op(Opcodes.BINPERSID);
  }

  /** A call that reads a storage from bytes in the old format, which follow. */
  private static void embeddedStorage(PickleWriter out, Tensor tensor, AtomicFile file) {
    byte[] head = oldFormatHead(tensor);
    out.global("torch.storage", "_load_from_bytes");
    out.op(Opcodes.BINBYTES8);
    out.little(Long.BYTES, head.length + tensor.byteSize());
    file.write(out.take());
    file.write(head);
    try (Scope scope = Scope.open()) {
      file.write(onHost(tensor).segment());
    }
    out.op(Opcodes.TUPLE1);
    out.op(Opcodes.REDUCE);
  }

  /** All of a storage in the old format but its elements. */
  private static byte[] oldFormatHead(Tensor tensor) {
    PickleWriter out = new PickleWriter(ZIP_PROTOCOL, null);
    byte[] magic = TorchReader.MAGIC.toByteArray();
    out.op(Opcodes.LONG1);
    out.little(1, magic.length);
    for (int i = magic.length - 1; i >= 0; i--) {
      out.little(1, magic[i]);
    }
    next(out);
    out.integer(TorchReader.PROTOCOL);
    next(out);
    out.value(Map.of("protocol_version", TorchReader.PROTOCOL, "little_endian", true));
    next(out);
    persistentStorage(out, tensor, "0", true);
    next(out);
    out.value(List.of("0"));
    out.op(Opcodes.STOP);
    out.little(Long.BYTES, tensor.count());
    return out.take();
  }

  private static void next(PickleWriter out) {
    out.op(Opcodes.STOP);
    out.op(Opcodes.PROTO);
    out.little(1, ZIP_PROTOCOL);
  }

  private static byte[] ascii(String text) {
    return text.getBytes(StandardCharsets.US_ASCII);
  }
}
