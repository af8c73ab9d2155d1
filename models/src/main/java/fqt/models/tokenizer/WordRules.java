package fqt.models.tokenizer;

import fqt.io.JsonObject;
import java.util.List;

/**
 * How text is cut into words, and the tokens that frame it.
 *
 * @param splitter the form of the words
 * @param prefixSpace whether text that does not begin with a space gets one
 * @param before tokens that precede every text
 * @param after tokens that follow every text
 */
record WordRules(Splitter splitter, boolean prefixSpace, int[] before, int[] after) {
  static WordRules read(JsonObject root) {
    if (!root.has("pre_tokenizer")) {
      throw root.wrong(
          "pre_tokenizer", "one of type ByteLevel, or a Sequence that ends in it", null);
    }
    JsonObject pre = root.getObject("pre_tokenizer");
    List<JsonObject> steps =
        pre.getString("type").equals("Sequence") ? pre.getObjects("pretokenizers") : List.of(pre);
    if (steps.isEmpty() || steps.size() > 2) {
      throw pre.wrong("pretokenizers", "Split and ByteLevel", steps.size() + " steps");
    }
    JsonObject bytes = steps.getLast();
    requireType(bytes, "ByteLevel");
    boolean ownRules = bytes.getBoolean("use_regex", true);
    boolean prefixSpace = bytes.getBoolean("add_prefix_space", true);
    Splitter splitter = ownRules ? Splitter.GPT2 : Splitter.WHOLE;
    if (steps.size() == 2) {
      if (ownRules || prefixSpace) {
        String name = ownRules ? "use_regex" : "add_prefix_space";
        throw bytes.wrong(name, "false behind a Split", true);
      }
      splitter = split(steps.getFirst());
    }
    Frame frame = new Frame(new IntList(0), new IntList(0));
    if (root.has("post_processor")) {
      addFrame(root.getObject("post_processor"), frame);
    }
    return new WordRules(splitter, prefixSpace, frame.before.toArray(), frame.after.toArray());
  }

  private static void requireType(JsonObject step, String expected) {
    String type = step.getString("type");
    if (!type.equals(expected)) {
      throw step.wrong("type", expected, type);
    }
  }

  private static Splitter split(JsonObject step) {
    requireType(step, "Split");
    String regex = step.getObject("pattern").getString("Regex");
    Splitter splitter = Splitter.of(regex);
    if (splitter == null) {
      throw step.getObject("pattern")
          .wrong("Regex", "the pattern of GPT-2, Llama 3 or Qwen2", regex);
    }
    // The patterns leave nothing out, so keeping the matches alone is the same as isolating them.
    String behavior = step.getString("behavior");
    boolean invert = step.getBoolean("invert", false);
    if (!(behavior.equals("Isolated") && !invert || behavior.equals("Removed") && invert)) {
      throw step.wrong("behavior", "Isolated", behavior + (invert ? " with invert" : ""));
    }
    return splitter;
  }

  private record Frame(IntList before, IntList after) {}

  private static void addFrame(JsonObject processor, Frame frame) {
    String type = processor.getString("type");
    switch (type) {
      case "ByteLevel" -> {
        // Concerns character offsets, which we do not report.
      }
      case "Sequence" ->
          processor.getObjects("processors").forEach(element -> addFrame(element, frame));
      case "TemplateProcessing" -> addTemplate(processor, frame);
      default -> throw processor.wrong("type", "ByteLevel, TemplateProcessing or Sequence", type);
    }
  }

  private static void addTemplate(JsonObject template, Frame frame) {
    boolean seen = false;
    for (JsonObject piece : template.getObjects("single")) {
      if (piece.has("Sequence")) {
        if (seen) {
          throw template.wrong("single", "the text once", "the text twice");
        }
        seen = true;
        continue;
      }
      String name = piece.getObject("SpecialToken").getString("id");
      JsonObject token = template.getObject("special_tokens").getObject(name);
      for (long id : token.getLongs("ids")) {
        (seen ? frame.after : frame.before).add(TokenizerFile.checkedId(token, "ids", id));
      }
    }
    if (!seen) {
      throw template.wrong("single", "the text once", "a template without the text");
    }
  }
}
