package fqt.tools;

import fqt.models.CausalLm;
import fqt.models.Pictures;
import fqt.quant.GptqConfig;
import fqt.quant.Quantizer;
import fqt.quant.Scheme;
import fqt.quant.rules.LinearRules;
import fqt.tensor.Backends;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;

/**
 * Everything that decides which bytes a job writes, by name: program, device, the model's files,
 * calibration ids and all choices. A job continues another only if these are the same.
 *
 * @param parts what a user would recognize, by a name that a user would recognize
 */
record Fingerprint(SequencedMap<String, String> parts) {
  private static final String NONE = "nothing";

  /** Copies the map. */
  Fingerprint {
    parts = Collections.unmodifiableSequencedMap(new LinkedHashMap<>(parts));
  }

  /** Fingerprint of a job. */
  static Fingerprint of(CausalLm model, QuantizeJob.Plan plan, SourceFiles files) {
    SequencedMap<String, String> parts = new LinkedHashMap<>();
    parts.put("program", new Main.Version().getVersion()[0]);
    parts.put("--device", model.device().toString());
    if (model.device().isHost()) {
      parts.put("kernels", kernels(model));
    }
    parts.put("--method", plan.method().toString());
    LinearRules<Scheme> rules = plan.rules();
    parts.put("--scheme", text(rules.base()));
    parts.put("--ignore", rules.ignore().toString());
    List<String> exceptions = new ArrayList<>();
    for (LinearRules.Rule<Scheme> rule : rules.rules()) {
      exceptions.add(rule.pattern() + "=" + text(rule.choice()));
    }
    parts.put("--rule", exceptions.toString());
    parts.put("--format", plan.format().name());
    parts.put("--max-shard-size", String.valueOf(plan.maxShardBytes()));
    if (plan.method().calibrates()) {
      boolean rounded = plan.keeping().rounds(model.device());
      parts.put("--activations", rounded ? "rounded to bf16" : "exact");
      parts.put("calibration", text(plan.samples()));
    }
    if (plan.method().calibrates() && !plan.pictures().isEmpty()) {
      parts.put("--image", pictures(plan.pictures()));
    }
    if (plan.method().secondOrder) {
      parts.put("gptq", text(plan.gptq()));
    }
    parts.putAll(files.digests());
    return new Fingerprint(parts);
  }

  /** The kernels in use: others may round otherwise. The number of threads makes no difference. */
  private static String kernels(CausalLm model) {
    return Backends.of(model.device()).describe().stream()
        .filter(line -> !line.startsWith("threads"))
        .toList()
        .toString();
  }

  private static String text(Scheme scheme) {
    String inputs = scheme.activations() == null ? "" : ", inputs " + text(scheme.activations());
    return text(scheme.weights()) + inputs;
  }

  private static String text(Quantizer quantizer) {
    return "%s by %d x %d, %s, scales %s%s"
        .formatted(
            quantizer.typeName() + (quantizer.symmetric() ? "" : " asymmetric"),
            quantizer.blocks().rows(),
            quantizer.blocks().columns(),
            quantizer.rule(),
            quantizer.scaleType(),
            quantizer.search() ? " searched" : "");
  }

  private static String text(GptqConfig gptq) {
    return "damping %s, order %s, true sequence %s, all experts %s, least share %s"
        .formatted(
            gptq.damping(),
            gptq.order(),
            gptq.trueSequential(),
            gptq.allExperts(),
            gptq.leastShare());
  }

  private static String text(List<int[]> samples) {
    MessageDigest sha = SourceFiles.sha256();
    for (int[] sample : samples) {
      ByteBuffer bytes = ByteBuffer.allocate(sample.length * Integer.BYTES);
      bytes.asIntBuffer().put(sample);
      sha.update(bytes);
    }
    return "%d samples of %d tokens, sha256 %s"
        .formatted(samples.size(), samples.getFirst().length, SourceFiles.shortHex(sha));
  }

  private static String pictures(List<Pictures> pictures) {
    MessageDigest sha = SourceFiles.sha256();
    for (Pictures picture : pictures) {
      float[] pixels = picture.pixels().toFloats();
      ByteBuffer bytes = ByteBuffer.allocate(pixels.length * Float.BYTES);
      bytes.asFloatBuffer().put(pixels);
      sha.update(bytes);
    }
    return "%d pictures, sha256 %s".formatted(pictures.size(), SourceFiles.shortHex(sha));
  }

  /** How this differs from an earlier one, in words; empty if it does not. */
  String differenceFrom(Map<String, String> earlier) {
    Set<String> names = new LinkedHashSet<>(parts.keySet());
    names.addAll(earlier.keySet());
    List<String> differences = new ArrayList<>();
    for (String name : names) {
      String now = parts.getOrDefault(name, NONE);
      String then = earlier.getOrDefault(name, NONE);
      if (!now.equals(then)) {
        differences.add("%s was %s and is %s".formatted(name, then, now));
      }
    }
    return String.join("; ", differences);
  }
}
