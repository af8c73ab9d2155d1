package fqt.quant.format;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.TensorSource;
import fqt.quant.QuantLinear;
import fqt.quant.Quantizer;
import fqt.quant.Scheme;
import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.PackedWeight;
import fqt.tensor.QuantOps;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Random;
import java.util.SequencedMap;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class GptqFormatTest {
  private static final GptqFormat FORMAT = new GptqFormat();

  /** Named tensors in memory. */
  record Tensors(Map<String, Tensor> map) implements TensorSource {
    @Override
    public Set<String> names() {
      return map.keySet();
    }

    @Override
    public Tensor get(String name) {
      if (!map.containsKey(name)) {
        throw new NoSuchElementException("no tensor '" + name + "'");
      }
      return map.get(name);
    }
  }

  static Tensor random(long seed, long... dims) {
    Random random = new Random(seed);
    long count = 1;
    for (long dim : dims) {
      count *= dim;
    }
    float[] values = new float[(int) count];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (0.05 * random.nextGaussian());
    }
    return Ops.of(values, dims);
  }

  private static CheckpointContents contents(Scheme scheme, boolean groupIndices) {
    return new CheckpointContents(
        scheme,
        new LinkedHashMap<>(Map.of("a", scheme)),
        List.of("lm_head"),
        groupIndices,
        Map.of());
  }

  @ParameterizedTest
  @CsvSource({
    "4, 32, 96, 40, F16, true, false",
    "4, -1, 64, 8, BF16, false, false",
    "8, 32, 96, 40, BF16, true, false",
    "8, 128, 128, 4, F16, false, false",
    "4, 16, 64, 24, F16, true, true"
  })
  void readsBackTheSameBits(
      int bits, long group, long inputs, long outputs, DType type, boolean bias, boolean ordered) {
    try (Scope scope = Scope.open()) {
      Scheme scheme = FORMAT.prepare(Scheme.weightOnly(bits, group), type);
      PackedWeight packed = scheme.weights().quantize(random(1, outputs, inputs)).pack();
      if (ordered) {
        int[] index = new int[(int) inputs];
        for (int i = 0; i < index.length; i++) {
          index[i] = (int) ((inputs - 1 - i) / group);
        }
        packed =
            new PackedWeight(
                bits,
                inputs,
                packed.groupSize(),
                packed.codes(),
                packed.scales(),
                null,
                Ops.of(index, inputs));
      }
      QuantLinear linear = new QuantLinear(packed, bias ? random(2, outputs) : null);
      SequencedMap<String, Tensor> tensors = FORMAT.tensors("model.x", linear);

      assertEquals(type, tensors.get("model.x.scales").dtype());
      Tensor codes = QuantOps.unpack(packed.codes(), bits, inputs);
      int perWord = 32 / bits;
      for (int k = 0; k < inputs; k++) {
        for (int n = 0; n < outputs; n++) {
          long word = tensors.get("model.x.qweight").getLong(k / perWord, n);
          long code = word >>> bits * (k % perWord) & (1 << bits) - 1;
          assertEquals(codes.getLong(n, k), code);
        }
        long expected = ordered ? (inputs - 1 - k) / group : group == -1 ? 0 : k / group;
        assertEquals(expected, tensors.get("model.x.g_idx").getLong(k));
      }
      long[] zeros = tensors.get("model.x.qzeros").toLongs();
      assertEquals(packed.groups() * outputs / perWord, zeros.length);
      for (long zero : zeros) {
        assertEquals(bits == 4 ? 0x77777777 : 0x7f7f7f7f, zero);
      }

      Map<String, Object> config = FORMAT.config(contents(scheme, ordered));
      GptqReader reader = new GptqReader();
      assertTrue(reader.handles(config));
      QuantLinear read =
          (QuantLinear) reader.read("model.x", inputs, outputs, new Tensors(tensors), config);
      assertArrayEquals(packed.codes().toLongs(), read.weight().codes().toLongs());
      assertArrayEquals(packed.scales().toFloats(), read.weight().scales().toFloats());
      assertArrayEquals(linear.dequantize().toFloats(), read.dequantize().toFloats());
      assertNull(read.weight().zeros());
      assertEquals(ordered, read.weight().groupIndex() != null);
      assertEquals(bias, read.bias() != null);
      assertNull(reader.read("model.y", inputs, outputs, new Tensors(tensors), config));
    }
  }

  @Test
  void saysWhatServersLookFor() {
    Scheme scheme = FORMAT.prepare(Scheme.weightOnly(4, 128), DType.BF16);
    Map<String, Object> config = FORMAT.config(contents(scheme, false));
    assertEquals("gptq", config.get("quant_method"));
    assertEquals(4L, config.get("bits"));
    assertEquals(128L, config.get("group_size"));
    assertEquals(false, config.get("desc_act"));
    assertEquals(true, config.get("sym"));
    assertEquals("gptq", config.get("checkpoint_format"));
    assertEquals(DType.BF16, scheme.weights().scaleType());
  }

  @Test
  void writesExceptionsUnderFusedNamesToo() {
    Scheme base = FORMAT.prepare(Scheme.weightOnly(4, 128), DType.F16);
    Scheme eight = FORMAT.prepare(Scheme.weightOnly(8, -1), DType.F16);
    SequencedMap<String, Scheme> quantized = new LinkedHashMap<>();
    quantized.put("model.layers.0.self_attn.q_proj", eight);
    quantized.put("model.layers.0.mlp.down_proj", base);
    Map<String, Object> config =
        FORMAT.config(
            new CheckpointContents(
                base, quantized, List.of("model.layers.0.mlp.gate_proj"), false, Map.of()));
    Map<?, ?> dynamic = (Map<?, ?>) config.get("dynamic");
    Map<String, Object> settings = Map.of("bits", 8L, "group_size", -1L, "sym", true);
    assertEquals(settings, dynamic.get("+:^model\\.layers\\.0\\.self_attn\\.q_proj$"));
    assertEquals(settings, dynamic.get("+:^model\\.layers\\.0\\.self_attn\\.qkv_proj$"));
    assertEquals(Map.of(), dynamic.get("-:^model\\.layers\\.0\\.mlp\\.gate_up_proj$"));
    assertEquals(4, dynamic.size());
  }

  @Test
  void refusesWhatNoServerLoads() {
    Quantizer weights = Scheme.weightOnly(3, 128).weights();
    Quantizer perToken = Quantizer.integer(8, Blocks.PER_ROW);
    Quantizer four = Quantizer.integer(4, weights.blocks());
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> FORMAT.prepare(new Scheme(weights, null), DType.F16))
            .getMessage();
    assertEquals(
        "no server loads int3 weights in the gptq format; use w4a16 or w8a16, or --format"
            + " simulated",
        message);
    assertThrows(
        IllegalArgumentException.class,
        () -> FORMAT.prepare(new Scheme(four.withSymmetric(false), null), DType.F16));
    assertThrows(
        IllegalArgumentException.class,
        () ->
            FORMAT.prepare(
                new Scheme(Quantizer.integer(8, weights.blocks()), perToken), DType.F16));
  }

  @Test
  void readsZeroPointsOfOtherTools() {
    try (Scope scope = Scope.open()) {
      Quantizer quantizer =
          Quantizer.integer(4, Blocks.perGroup(32)).withSymmetric(false).withScaleType(DType.F16);
      QuantLinear linear = new QuantLinear(quantizer.quantize(random(5, 16, 64)).pack(), null);
      PackedWeight weight = linear.weight();
      Tensor byGroup = Ops.copy(weight.zeros().transpose(0, 1));
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      tensors.put("x.qweight", Ops.copy(weight.codes().transpose(0, 1)));
      tensors.put("x.scales", Ops.copy(weight.scales().transpose(0, 1)));
      tensors.put("x.qzeros", QuantOps.pack(byGroup, 4));
      Map<String, Object> config =
          Map.of("quant_method", "gptq", "group_size", 32L, "checkpoint_format", "gptq_v2");
      QuantLinear read =
          (QuantLinear) new GptqReader().read("x", 64, 16, new Tensors(tensors), config);
      assertArrayEquals(linear.dequantize().toFloats(), read.dequantize().toFloats());

      tensors.put("x.scales", tensors.get("x.scales").slice(1, 0, 8));
      assertEquals(
          "x.scales is F16[2, 8]; expected F16[2, 16]",
          assertThrows(
                  IllegalArgumentException.class,
                  () -> new GptqReader().read("x", 64, 16, new Tensors(tensors), config))
              .getMessage());
    }
  }
}
