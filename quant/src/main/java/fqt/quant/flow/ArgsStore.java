package fqt.quant.flow;

import fqt.nn.LayerArgs;
import fqt.tensor.Device;
import fqt.tensor.Tensor;
import java.util.IdentityHashMap;
import java.util.Map;

/** Copies of layer arguments that outlive all scopes, until closed; shared tables only once. */
public final class ArgsStore implements AutoCloseable {
  private final ActivationStore tables;
  private final Map<Tensor, Tensor> copies = new IdentityHashMap<>();

  /**
   * None yet, to be used on a device.
   *
   * @param device where the tables are used
   */
  public ArgsStore(Device device) {
    tables = new ActivationStore(device, null);
  }

  /**
   * {@return the same arguments without a cache, with tables of their own}
   *
   * @param args of a layer's run; tables that were copied before are not copied again
   */
  public LayerArgs copy(LayerArgs args) {
    return new LayerArgs(copy(args.cos()), copy(args.sin()), args.mask(), null);
  }

  private Tensor copy(Tensor table) {
    return table == null ? null : copies.computeIfAbsent(table, tables::add);
  }

  /** Frees the tables. */
  @Override
  public void close() {
    copies.clear();
    tables.close();
  }
}
