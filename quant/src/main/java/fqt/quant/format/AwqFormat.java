package fqt.quant.format;

import fqt.nn.Module;
import fqt.quant.QuantLinear;
import fqt.quant.Quantizer;
import fqt.quant.ScaleRule;
import fqt.quant.Scheme;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.PackedWeight;
import fqt.tensor.QuantOps;
import fqt.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;

/**
 * The AWQ format in its {@code gemm} version, for linears of K inputs and N outputs in groups of g;
 * 4 bits only.
 *
 * <pre>
 *   qweight  I32 [K, N/8]     bits 4i…4i+3 of word c hold the code of output 8c + order[i],
 *                             order = 0 2 4 6 1 3 5 7
 *   qzeros   I32 [K/g, N/8]   zero points in the same order, stored as they are
 *   scales   F16 [K/g, N]
 *   bias     [N]
 * </pre>
 *
 * Symmetric codes get their zero point of 8 written out: servers expect zero points.
 */
public final class AwqFormat implements CheckpointFormat {
  static final int BITS = 4;
  static final int PER_WORD = Integer.SIZE / BITS;
  private static final int[] ORDER = {0, 2, 4, 6, 1, 3, 5, 7};

  /** The format, which leaves nothing to choose. */
  public AwqFormat() {}

  @Override
  public String name() {
    return "awq";
  }

  @Override
  public Scheme prepare(Scheme scheme, DType modelType) {
    Quantizer weights = scheme.weights();
    if (scheme.activations() != null) {
      throw new IllegalArgumentException(
          "the awq format keeps activations in floating point;"
              + " use --format compressed-tensors for quantized activations");
    }
    if (!weights.isInteger() || weights.bits() != BITS) {
      throw new IllegalArgumentException(
          "no server loads %s weights in the awq format; use w4a16, or --format gptq for w8a16"
              .formatted(weights.typeName()));
    }
    return scheme.withWeights(weights.withScaleType(DType.F16).withRule(ScaleRule.FULL_RANGE));
  }

  @Override
  public SequencedMap<String, Tensor> tensors(String prefix, Module linear) {
    if (!(linear instanceof QuantLinear quantized)
        || quantized.weight().bits() != BITS
        || quantized.weight().groupIndex() != null) {
      throw new IllegalArgumentException(
          prefix + " is no linear of 4-bit weights in groups of neighbours, as awq stores them");
    }
    PackedWeight weight = quantized.weight();
    if (weight.rows() % PER_WORD != 0) {
      throw new IllegalArgumentException(
          "%s has %d outputs; the awq format packs multiples of %d"
              .formatted(prefix, weight.rows(), PER_WORD));
    }
    Tensor codes = QuantOps.unpack(weight.codes(), BITS, weight.columns());
    Tensor zeros =
        weight.zeros() == null
            ? Ops.full(codes.device(), DType.U8, 8, weight.rows(), weight.groups())
            : weight.zeros();
    SequencedMap<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put(prefix + ".qweight", packed(codes));
    tensors.put(prefix + ".qzeros", packed(zeros));
    tensors.put(prefix + ".scales", Ops.copy(Ops.to(weight.scales(), DType.F16).transpose(0, 1)));
    if (quantized.bias() != null) {
      tensors.put(prefix + ".bias", quantized.bias());
    }
    return tensors;
  }

  /** Words [K, N/8] of codes U8 [N, K]. */
  private static Tensor packed(Tensor codes) {
    int[] source = new int[Math.toIntExact(codes.dim(0))];
    for (int i = 0; i < source.length; i++) {
      source[i] = i - i % PER_WORD + ORDER[i % PER_WORD];
    }
    return QuantOps.pack(Ops.copy(Packing.rows(codes, source).transpose(0, 1)), BITS);
  }

  /** Codes U8 [N, K] of words [K, N/8]. */
  static Tensor unpacked(Tensor words, long outputs) {
    int[] source = new int[Math.toIntExact(outputs)];
    for (int i = 0; i < source.length; i++) {
      source[i - i % PER_WORD + ORDER[i % PER_WORD]] = i;
    }
    Tensor codes = Ops.copy(QuantOps.unpack(words, BITS, outputs).transpose(0, 1));
    return Packing.rows(codes, source);
  }

  @Override
  public Map<String, Object> config(CheckpointContents contents) {
    Quantizer weights = contents.base().weights();
    contents
        .quantized()
        .forEach(
            (name, scheme) -> {
              if (!scheme.equals(contents.base())) {
                throw new IllegalArgumentException(
                    "the awq format has one scheme for all linears, but " + name + " has another");
              }
            });
    Map<String, Object> config = new LinkedHashMap<>();
    config.put("quant_method", "awq");
    config.put("bits", (long) BITS);
    config.put("group_size", GptqFormat.groupSize(weights));
    config.put("zero_point", true);
    config.put("version", "gemm");
    config.put("modules_to_not_convert", skipped(contents));
    config.put("lm_head", false);
    config.put("meta", contents.method());
    return config;
  }

  /**
   * Paths of linears in floating point, or null if there are none. Servers skip every module whose
   * path contains one of them, so a path that is part of a quantized one must not be said; it is
   * found by the type of its weight.
   */
  private static List<String> skipped(CheckpointContents contents) {
    List<String> names =
        contents.unquantized().stream()
            .filter(name -> contents.quantized().keySet().stream().noneMatch(q -> q.contains(name)))
            .toList();
    return names.isEmpty() ? null : names;
  }
}
