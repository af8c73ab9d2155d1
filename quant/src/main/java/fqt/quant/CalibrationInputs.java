package fqt.quant;

import fqt.nn.LayerArgs;
import fqt.tensor.AttentionMask;
import fqt.tensor.Backends;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Shape;
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
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/**
 * The hidden states of all calibration samples as they stand before some layer, with the arguments
 * that the layers need. {@link LayerForwardManager} moves them from layer to layer in place. Owns
 * its memory, whatever scopes are open, until closed. Not safe for several threads.
 */
public final class CalibrationInputs implements AutoCloseable {
  /** Where hidden states rest between layers. */
  public enum Keeping {
    /** In memory, exactly. */
    F32(DType.F32),
    /** In memory, rounded to half the size. */
    BF16(DType.BF16),
    /** In a mapped temporary file, exactly. */
    DISK(DType.F32);

    private final DType dtype;

    Keeping(DType dtype) {
      this.dtype = dtype;
    }
  }

  private record Sample(Tensor hidden, LayerArgs args) {}

  private final Device device;
  private final Keeping keeping;
  private final Path folder;
  private final List<Sample> samples = new ArrayList<>();
  private final List<Storage> storages = new ArrayList<>();
  private final Map<Tensor, Tensor> copies = new IdentityHashMap<>();
  private final List<CalibrationInputs> others = new ArrayList<>();
  private Arena mapped;
  private FileChannel file;
  private long fileSize;
  private int used;
  private long tokens;

  /** No samples yet, to be kept in memory. */
  public CalibrationInputs(Device device) {
    this(device, Keeping.F32, null);
  }

  /**
   * No samples yet.
   *
   * @param device where layers run
   * @param keeping where hidden states rest; {@code DISK} needs a device that shares host memory
   * @param folder where the file of {@code DISK} goes; null for the system's temporary folder
   */
  public CalibrationInputs(Device device, Keeping keeping, Path folder) {
    if (keeping == Keeping.DISK && !device.isHost()) {
      throw new IllegalArgumentException(
          "activations of device " + device + " cannot be kept in a mapped file; use BF16");
    }
    this.device = device;
    this.keeping = keeping;
    this.folder = folder;
  }

  /**
   * Adds a sample, copying it.
   *
   * @param hidden F32 [tokens, features], input of the first layer
   * @param args what the layers need for it; rotary tables are copied once
   */
  public void add(Tensor hidden, LayerArgs args) {
    Tensor kept = allocate(keeping.dtype, hidden.shape(), keeping == Keeping.DISK);
    Ops.copyInto(Ops.to(hidden, device), kept);
    LayerArgs own = new LayerArgs(own(args.cos()), own(args.sin()), args.mask(), null);
    samples.add(new Sample(kept, own));
    tokens += hidden.dim(0);
  }

  private Tensor own(Tensor table) {
    if (table == null) {
      return null;
    }
    return copies.computeIfAbsent(
        table,
        source -> {
          Tensor copy = allocate(source.dtype(), source.shape(), false);
          Ops.copyInto(Ops.to(source, device), copy);
          return copy;
        });
  }

  private Tensor allocate(DType dtype, Shape shape, boolean onDisk) {
    long bytes = Math.multiplyExact(shape.count(), (long) dtype.byteSize());
    if (onDisk) {
      return Tensor.of(map(bytes), dtype, shape);
    }
    Storage storage = Backends.of(device).allocate(bytes);
    storages.add(storage);
    return Tensor.of(storage, dtype, shape);
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

  /** Number of samples. */
  public int size() {
    return samples.size();
  }

  /** Tokens in all samples together. */
  public long tokens() {
    return tokens;
  }

  /** Bytes of the hidden states of all samples, counted as F32. */
  long byteSize() {
    long bytes = 0;
    for (Sample sample : samples) {
      bytes += sample.hidden().count() * Float.BYTES;
    }
    return bytes;
  }

  /** No samples yet, kept exactly where these are and freed with them at the latest. */
  CalibrationInputs another() {
    Keeping exactly = keeping == Keeping.BF16 ? Keeping.F32 : keeping;
    CalibrationInputs other = new CalibrationInputs(device, exactly, folder);
    others.add(other);
    return other;
  }

  /** Where the samples are. */
  public Device device() {
    return device;
  }

  /** A sample's hidden states now, F32 [tokens, features]; not to be written to. */
  public Tensor hidden(int index) {
    if (file != null && index != used && used < size()) {
      // Stays in the file, and comes back if anybody still looks at it.
      samples.get(used).hidden().segment().unload();
    }
    used = index;
    return Ops.to(samples.get(index).hidden(), DType.F32);
  }

  /** What layers need for a sample. */
  public LayerArgs args(int index) {
    return samples.get(index).args();
  }

  /** Changes the mask that layers are given for a sample: blocks may see windows or all. */
  public void setMask(int index, AttentionMask mask) {
    Sample sample = samples.get(index);
    samples.set(index, new Sample(sample.hidden(), sample.args().withMask(mask)));
  }

  /** Replaces a sample's hidden states by others of the same shape. */
  public void replace(int index, Tensor hidden) {
    Ops.copyInto(hidden, samples.get(index).hidden());
  }

  /** The same samples as they stand now, to be changed independently. */
  public CalibrationInputs copy() {
    CalibrationInputs copy = new CalibrationInputs(device, keeping, folder);
    for (int i = 0; i < size(); i++) {
      try (Scope scope = Scope.open()) {
        copy.add(hidden(i), args(i));
      }
    }
    return copy;
  }

  /** Frees all samples; closing twice does nothing. */
  @Override
  public void close() {
    others.forEach(CalibrationInputs::close);
    others.clear();
    samples.clear();
    copies.clear();
    storages.forEach(Storage::release);
    storages.clear();
    tokens = 0;
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
