package fqt.quant.flow;

import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;

/**
 * What finished parts of a layer gave for each calibration sample, so that later passes over the
 * samples need not run them again.
 *
 * <p>A part is a module that returns the very tensor that a linear inside it has computed, as
 * attention does with its output projection. When that linear is the next to be quantized, all
 * linears that run before it are final, and so is what it is fed. That is kept, and once the linear
 * is final as well, the output of the part is one product away. It takes the place of what was kept
 * if it has the same shape, so that a part costs as much memory as the input of its linear.
 *
 * <p>Whatever is kept rests where the hidden states do, but always in F32, and is freed with them
 * at the latest. The passes give the same bits as without.
 */
public final class Replay {
  /**
   * A part of a layer.
   *
   * @param place where the part stands
   * @param linear where the linear stands whose output is the part's
   */
  public record Part(Module.Child place, Module.Child linear) {}

  private final ActivationStore hidden;
  private final long limit;
  private final List<Kept> finished = new ArrayList<>();
  private Kept growing;
  private long bytes;
  private int sample;

  /**
   * Nothing yet.
   *
   * @param hidden the hidden states of the samples
   * @param limit bytes to keep at most, counted as F32
   */
  public Replay(ActivationStore hidden, long limit) {
    this.hidden = hidden;
    this.limit = limit;
  }

  /**
   * The sample that runs from now on.
   *
   * @param number from 0
   */
  public void at(int number) {
    sample = number;
  }

  /**
   * Keeps what the linear of a part is fed in this sample, if there is room.
   *
   * @param part the part, unfinished
   * @param input what its linear is fed, kept as it is
   */
  public void keep(Part part, Tensor input) {
    if (sample == 0) {
      drop(growing);
      growing = new Kept(part);
    }
    if (growing == null || growing.part != part || growing.values.size() != sample) {
      return;
    }
    bytes += input.byteSize();
    growing.bytes += input.byteSize();
    if (bytes > limit) {
      drop(growing);
      growing = null;
      return;
    }
    growing.values.add(input);
  }

  /**
   * Tells that the linear of a part is final: the part need not run again.
   *
   * @param part the one whose inputs were kept
   */
  public void finish(Part part) {
    if (growing == null || growing.part != part) {
      return;
    }
    if (growing.values.size() == hidden.size()) {
      finished.add(growing);
    } else {
      drop(growing);
    }
    growing = null;
  }

  /**
   * Puts stand-ins that know the outputs into the places of the finished parts.
   *
   * @return puts the parts back when closed
   */
  public Module.Registration install() {
    List<Module.Child> places = new ArrayList<>();
    List<Module> parts = new ArrayList<>();
    for (Kept kept : finished) {
      places.add(kept.part.place());
      parts.add(kept.part.place().get());
      kept.part.place().set(kept);
    }
    return () -> {
      for (int i = 0; i < parts.size(); i++) {
        places.get(i).set(parts.get(i));
      }
    };
  }

  /** Frees everything: the layer runs as it stands again. */
  public void clear() {
    finished.forEach(this::drop);
    finished.clear();
    drop(growing);
    growing = null;
  }

  private void drop(Kept kept) {
    if (kept != null) {
      bytes -= kept.bytes;
      kept.values.close();
    }
  }

  /** Stands in for a part, of which it keeps the output of each sample or what leads to it. */
  private final class Kept extends Module {
    private final Part part;
    private final ActivationStore values = hidden.another();
    private final BitSet outputs = new BitSet();
    private long bytes;

    Kept(Part part) {
      this.part = part;
    }

    @Override
    protected Tensor forward(Tensor input, LayerArgs args) {
      try (Scope scope = Scope.open()) {
        if (!outputs.get(sample)) {
          Tensor output = part.linear().apply(values.get(sample), args);
          if (!output.shape().equals(values.get(sample).shape())) {
            return scope.keep(output);
          }
          values.replace(sample, output);
          outputs.set(sample);
        }
        return scope.keep(Ops.copy(values.get(sample)));
      }
    }
  }
}
