package fqt.quant;

import fqt.nn.Attention;
import fqt.nn.DecoderLayer;
import fqt.nn.GatedMlp;
import fqt.nn.LayerArgs;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.nn.RmsNorm;
import fqt.nn.SparseMoe;
import fqt.tensor.AttentionMask;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** Small networks and inputs from seeds. */
final class Nets {
  static final int FEATURES = 64;
  static final int WIDTH = 96;

  private final Random random;

  Nets(long seed) {
    random = new Random(seed);
  }

  /** The same samples as they stand now, to be changed independently. */
  static CalibrationInputs copy(CalibrationInputs inputs) {
    CalibrationInputs copy = new CalibrationInputs(inputs.device());
    for (int i = 0; i < inputs.size(); i++) {
      copy.add(inputs.hidden(i), inputs.args(i));
    }
    return copy;
  }

  Tensor gaussian(double spread, long... dims) {
    long count = 1;
    for (long dim : dims) {
      count *= dim;
    }
    float[] values = new float[Math.toIntExact(count)];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (spread * random.nextGaussian());
    }
    return Ops.of(values, dims);
  }

  /** Rows whose columns are correlated and differ in size, as activations are. */
  Tensor activations(long tokens, long features) {
    Tensor mixing = gaussian(1 / Math.sqrt((double) features), features, features);
    float[] sizes = new float[Math.toIntExact(features)];
    for (int i = 0; i < sizes.length; i++) {
      sizes[i] = (float) Math.exp(random.nextGaussian());
    }
    Tensor sized = Ops.multiply(gaussian(1, tokens, features), Ops.of(sizes, features));
    return Ops.add(Ops.matmul(sized, mixing), Ops.affine(sized, 0.1f, 0));
  }

  Linear linear(long inputs, long outputs, boolean bias) {
    return new Linear(
        gaussian(1 / Math.sqrt((double) inputs), outputs, inputs),
        bias ? gaussian(0.1, outputs) : null);
  }

  private GatedMlp mlp(long width) {
    return new GatedMlp(
        UnaryOp.SILU,
        width,
        linear(FEATURES, width, false),
        linear(FEATURES, width, false),
        linear(width, FEATURES, false));
  }

  private RmsNorm norm() {
    float[] ones = new float[FEATURES];
    for (int i = 0; i < FEATURES; i++) {
      ones[i] = (float) Math.exp(0.3 * random.nextGaussian());
    }
    return new RmsNorm(Ops.of(ones, FEATURES), 1e-6f);
  }

  private Attention attention() {
    return new Attention(
        new Attention.Heads(4, 2, 16, 0),
        new Attention.Parts(
            linear(FEATURES, 64, true),
            linear(FEATURES, 32, true),
            linear(FEATURES, 32, true),
            linear(64, FEATURES, false),
            null,
            null));
  }

  Module denseLayer() {
    return new DecoderLayer(FEATURES, norm(), attention(), norm(), mlp(WIDTH));
  }

  /** Top-2 of so many experts, and a shared one. */
  Module sparseLayer(int experts) {
    return sparseLayer(experts, true);
  }

  /** Top-2 of so many experts, and perhaps a shared one. */
  Module sparseLayer(int experts, boolean shared) {
    List<Module> all = new ArrayList<>();
    for (int i = 0; i < experts; i++) {
      all.add(mlp(32));
    }
    SparseMoe moe =
        new SparseMoe(
            new SparseMoe.Routing(2, true),
            linear(FEATURES, experts, false),
            all,
            shared ? mlp(64) : null,
            shared ? linear(FEATURES, 1, false) : null);
    return new DecoderLayer(FEATURES, norm(), attention(), norm(), moe);
  }

  CalibrationInputs inputs(int samples, int tokens) {
    CalibrationInputs inputs = new CalibrationInputs(Device.CPU);
    Tensor all = activations((long) samples * tokens, FEATURES);
    for (int i = 0; i < samples; i++) {
      Tensor hidden = Ops.copy(all.slice(0, (long) i * tokens, (i + 1L) * tokens));
      inputs.add(hidden, new LayerArgs(null, null, AttentionMask.causal(tokens), null));
    }
    return inputs;
  }
}
