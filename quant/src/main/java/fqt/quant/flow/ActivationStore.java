package fqt.quant.flow;

import fqt.tensor.Backends;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;

/**
 * Tensors at rest, by number: in memory, as they are or rounded to a smaller type, or in a mapped
 * temporary file that the system may page out. Owns its memory, whatever scopes are open, until
 * closed. Not safe for several threads.
 */
public final class ActivationStore implements AutoCloseable {
  private final Device device;
  private final Device home;
  private final DType dtype;
  private final boolean onDisk;
  private final Path folder;
  private final List<Tensor> tensors = new ArrayList<>();
  private final List<Storage> storages = new ArrayList<>();
  private final List<ActivationStore> others = new ArrayList<>();
  private Arena mapped;
  private FileChannel file;
  private long fileSize;
  private int used;

  /**
   * Nothing yet, to be kept in memory.
   *
   * @param device where the tensors are used and rest
   * @param dtype type in which they rest, or null for the type that each has
   */
  public ActivationStore(Device device, DType dtype) {
    this(device, dtype, false, null);
  }

  /**
   * Nothing yet.
   *
   * @param device where the tensors are used
   * @param dtype type in which they rest; null for the type that each has
   * @param onDisk whether they rest in a file, from where a GPU fetches them when they are used
   * @param folder where the file goes; null for the system's temporary folder
   */
  public ActivationStore(Device device, DType dtype, boolean onDisk, Path folder) {
    this.device = device;
    this.home = onDisk ? Device.CPU : device;
    this.dtype = dtype;
    this.onDisk = onDisk;
    this.folder = folder;
  }

  /**
   * {@return an empty one that keeps F32 values exactly where these are; freed with this at the
   * latest}
   */
  public ActivationStore another() {
    ActivationStore other = new ActivationStore(device, DType.F32, onDisk, folder);
    others.add(other);
    return other;
  }

  /**
   * Copies a tensor.
   *
   * @param tensor any strides and device
   * @return where it rests
   */
  public Tensor add(Tensor tensor) {
    DType type = dtype == null ? tensor.dtype() : dtype;
    long bytes = Math.multiplyExact(tensor.count(), (long) type.byteSize());
    Tensor kept;
    if (onDisk) {
      kept = Tensor.of(map(bytes), type, tensor.shape());
    } else {
      Storage storage = Backends.of(device).allocate(bytes);
      storages.add(storage);
      kept = Tensor.of(storage, type, tensor.shape());
    }
    put(tensor, kept);
    tensors.add(kept);
    return kept;
  }

  private MemorySegment map(long bytes) {
    try {
      if (file == null) {
        Path path =
            folder == null
                ? Files.createTempFile("fqt", ".activations")
                : Files.createTempFile(folder, "fqt", ".activations");
        file =
            FileChannel.open(
                path,
                StandardOpenOption.READ,
                StandardOpenOption.WRITE,
                StandardOpenOption.DELETE_ON_CLOSE);
        mapped = Arena.ofShared();
      }
      MemorySegment segment = file.map(FileChannel.MapMode.READ_WRITE, fileSize, bytes, mapped);
      fileSize += bytes;
      return segment;
    } catch (IOException e) {
      throw new UncheckedIOException(
          "cannot keep " + bytes + " more bytes of activations in a file: " + e.getMessage(), e);
    }
  }

  /** {@return where the tensors are used} */
  public Device device() {
    return device;
  }

  /** {@return whether tensors travel to the device whenever they are used} */
  public boolean isElsewhere() {
    return !home.equals(device);
  }

  /** {@return how many there are} */
  public int size() {
    return tensors.size();
  }

  /** {@return the rows of all together: tokens} */
  public long rows() {
    return tensors.stream().mapToLong(tensor -> tensor.dim(0)).sum();
  }

  /** {@return the bytes of all, counted as F32} */
  public long byteSize() {
    return tensors.stream().mapToLong(tensor -> tensor.count() * Float.BYTES).sum();
  }

  /**
   * {@return a tensor in F32; not to be written to}
   *
   * @param index in the order in which they were added
   */
  public Tensor get(int index) {
    if (file != null && index != used && used < size()) {
      // Stays in the file, and comes back if anybody still looks at it.
      tensors.get(used).segment().unload();
    }
    used = index;
    return Ops.to(Ops.to(tensors.get(index), device), DType.F32);
  }

  /**
   * Replaces a tensor by another of the same shape.
   *
   * @param index in the order in which they were added
   * @param tensor of the old one's shape
   */
  public void replace(int index, Tensor tensor) {
    put(tensor, tensors.get(index));
  }

  /** Converts first, so that less has to travel. */
  private void put(Tensor tensor, Tensor kept) {
    try (Scope scope = Scope.open()) {
      Ops.copyInto(home.equals(device) ? Ops.to(tensor, device) : travelling(tensor), kept);
    }
  }

  private Tensor travelling(Tensor tensor) {
    return Ops.to(Ops.to(tensor, dtype), home);
  }

  /** Frees everything; closing twice does nothing. */
  @Override
  public void close() {
    others.forEach(ActivationStore::close);
    others.clear();
    tensors.clear();
    storages.forEach(Storage::release);
    storages.clear();
    if (file != null) {
      mapped.close();
      try {
        file.close();
      } catch (IOException e) {
        throw new UncheckedIOException("cannot close the file of activations", e);
      }
      file = null;
    }
  }
}
