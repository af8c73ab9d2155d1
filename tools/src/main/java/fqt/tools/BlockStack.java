package fqt.tools;

import fqt.io.TensorSource;
import fqt.models.CausalLm;
import fqt.models.Pictures;
import fqt.models.VisionTower;
import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.quant.CalibrationInputs;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.List;
import java.util.Map;

/** Blocks that are quantized one after another, each fed with what the one before it gives. */
sealed interface BlockStack {
  /** What a block is called in the progress. */
  String unit();

  /** How many blocks there are. */
  int count();

  /** Path of a block in the checkpoint. */
  String prefix(int index);

  /** A block as the checkpoint has it. */
  Module block(int index);

  /** A block as other tensors have it, in the current scope. */
  Module written(int index, TensorSource tensors, Map<String, Object> quantization);

  /** Frees a block. */
  void release(int index);

  /** Adds what the first block is fed with, a sample each. */
  void addSamples(CalibrationInputs inputs);

  /** Gives the samples the arguments that a block needs. */
  void prepare(CalibrationInputs inputs, int index);

  /**
   * The decoder layers of a model.
   *
   * @param samples token ids of one length; none if nothing is calibrated
   */
  record Layers(CausalLm model, List<int[]> samples) implements BlockStack {
    @Override
    public String unit() {
      return "layer";
    }

    @Override
    public int count() {
      return model.layers().size();
    }

    @Override
    public String prefix(int index) {
      return model.layerPrefix(index);
    }

    @Override
    public Module block(int index) {
      return model.layers().get(index);
    }

    @Override
    public Module written(int index, TensorSource tensors, Map<String, Object> quantization) {
      return model.layer(index, tensors, quantization);
    }

    @Override
    public void release(int index) {
      model.release(index);
    }

    @Override
    public void addSamples(CalibrationInputs inputs) {
      if (samples.isEmpty()) {
        return;
      }
      try (Scope scope = Scope.open()) {
        LayerArgs args = model.args(0, samples.getFirst().length);
        for (int[] sample : samples) {
          try (Scope one = Scope.open()) {
            Tensor ids = Ops.to(Ops.of(sample, sample.length), model.device());
            inputs.add(model.embed(ids), args);
          }
        }
      }
      model.releaseEnds();
    }

    @Override
    public void prepare(CalibrationInputs inputs, int index) {}
  }

  /**
   * The blocks of a vision tower.
   *
   * @param pictures a sample each; none if nothing is calibrated
   */
  record Tower(VisionTower tower, List<Pictures> pictures) implements BlockStack {
    @Override
    public String unit() {
      return "vision block";
    }

    @Override
    public int count() {
      return tower.blocks().size();
    }

    @Override
    public String prefix(int index) {
      return tower.blockPrefix(index);
    }

    @Override
    public Module block(int index) {
      return tower.blocks().get(index);
    }

    @Override
    public Module written(int index, TensorSource tensors, Map<String, Object> quantization) {
      return tower.block(index, tensors, quantization);
    }

    @Override
    public void release(int index) {
      tower.release(index);
    }

    @Override
    public void addSamples(CalibrationInputs inputs) {
      for (Pictures picture : pictures) {
        try (Scope scope = Scope.open()) {
          Pictures here = picture.to(inputs.device());
          inputs.add(tower.embed(here), tower.args(here, 0));
        }
      }
    }

    /** Some blocks see windows, others whole frames; the rotary tables are the same. */
    @Override
    public void prepare(CalibrationInputs inputs, int index) {
      for (int i = 0; i < inputs.size(); i++) {
        try (Scope scope = Scope.open()) {
          inputs.setMask(i, tower.args(pictures.get(i), index).mask());
        }
      }
    }
  }
}
