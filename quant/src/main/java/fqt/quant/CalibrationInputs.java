package fqt.quant;

import fqt.nn.LayerArgs;
import fqt.quant.flow.ActivationStore;
import fqt.quant.flow.ArgsStore;
import fqt.tensor.AttentionMask;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The hidden states of all calibration samples as they stand before some layer, with the arguments
 * that the layers need. {@link LayerForwardManager} moves them from layer to layer in place. Owns
 * its memory, whatever scopes are open, until closed. Not safe for several threads.
 */
public final class CalibrationInputs implements AutoCloseable {
  /** Where hidden states rest between layers. */
  public enum Keeping {
    /** In memory, exactly. */
    F32,
    /** In memory, rounded to half the size. */
    BF16,
    /** In a mapped temporary file of the host: exactly, but rounded like BF16 from a GPU. */
    DISK;

    /**
     * {@return whether values are rounded that a device computed}
     *
     * @param device the device that computed them
     */
    public boolean rounds(Device device) {
      return this == BF16 || this == DISK && !device.isHost();
    }
  }

  private final ActivationStore hidden;
  private final ArgsStore tables;
  private final List<LayerArgs> args = new ArrayList<>();

  /**
   * No samples yet, to be kept in memory.
   *
   * @param device where they will be used
   */
  public CalibrationInputs(Device device) {
    this(device, Keeping.F32, null);
  }

  /**
   * No samples yet.
   *
   * @param device where layers run
   * @param keeping where hidden states rest
   * @param folder where the file of {@code DISK} goes; null for the system's temporary folder
   */
  public CalibrationInputs(Device device, Keeping keeping, Path folder) {
    DType type = keeping.rounds(device) ? DType.BF16 : DType.F32;
    hidden = new ActivationStore(device, type, keeping == Keeping.DISK, folder);
    tables = new ArgsStore(device);
  }

  /**
   * Adds a sample, copying it.
   *
   * @param state F32 [tokens, features], input of the first layer
   * @param layerArgs what the layers need for it; rotary tables are copied once
   */
  public void add(Tensor state, LayerArgs layerArgs) {
    hidden.add(state);
    args.add(tables.copy(layerArgs));
  }

  /** {@return the number of samples} */
  public int size() {
    return args.size();
  }

  /** {@return how many tokens all samples have together} */
  public long tokens() {
    return hidden.rows();
  }

  /** {@return where the samples are} */
  public Device device() {
    return hidden.device();
  }

  /** Where the hidden states rest. */
  ActivationStore store() {
    return hidden;
  }

  /**
   * {@return a sample's hidden states now, F32 [tokens, features]; not to be written to}
   *
   * @param index which sample, from 0
   */
  public Tensor hidden(int index) {
    return hidden.get(index);
  }

  /**
   * {@return what layers need for a sample}
   *
   * @param index which sample, from 0
   */
  public LayerArgs args(int index) {
    return args.get(index);
  }

  /**
   * Changes the mask that layers are given for a sample: blocks may see windows or all.
   *
   * @param index which sample, from 0
   * @param mask over the tokens of that sample
   */
  public void setMask(int index, AttentionMask mask) {
    args.set(index, args.get(index).withMask(mask));
  }

  /**
   * Replaces a sample's hidden states by others of the same shape.
   *
   * @param index which sample, from 0
   * @param state F32 [tokens, features], copied
   */
  public void replace(int index, Tensor state) {
    hidden.replace(index, state);
  }

  /** Frees all samples; closing twice does nothing. */
  @Override
  public void close() {
    hidden.close();
    tables.close();
    args.clear();
  }
}
