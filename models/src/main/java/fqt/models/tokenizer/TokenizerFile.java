package fqt.models.tokenizer;

import fqt.io.FileFormatException;
import fqt.io.Json;
import fqt.io.JsonObject;
import java.nio.file.Path;
import java.text.Normalizer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * A {@code tokenizer.json}, read and checked. What this tokenizer does not do is refused by name.
 *
 * @param vocabulary the number of each token as it is spelled, without added tokens
 * @param merges see {@link Bpe}
 * @param ignoreMerges whether a word that is a token is not taken apart
 * @param added added tokens
 * @param forms normalizations, applied in turn
 * @param words how text is cut and which tokens frame it
 */
record TokenizerFile(
    Map<String, Integer> vocabulary,
    PairMap merges,
    boolean ignoreMerges,
    List<AddedToken> added,
    List<Normalizer.Form> forms,
    WordRules words) {
  /** Larger than any vocabulary in use; bounds what a file can make us allocate. */
  private static final int MAX_ID = 1 << 22;

  private static final int MAX_ADDED_CHARS = 1 << 22;

  static TokenizerFile read(Path path) {
    JsonObject root = Json.readObject(path);
    JsonObject model = root.getObject("model");
    requirePlainBpe(model);
    Map<String, Integer> vocabulary = vocabulary(model);
    PairMap merges = merges(model, vocabulary);
    List<Normalizer.Form> forms = new ArrayList<>();
    if (root.has("normalizer")) {
      addForms(root.getObject("normalizer"), forms);
    }
    if (!root.has("decoder")) {
      throw root.wrong("decoder", "one of type ByteLevel", null);
    }
    requireByteLevelDecoder(root.getObject("decoder"));
    return new TokenizerFile(
        vocabulary,
        merges,
        model.getBoolean("ignore_merges", false),
        added(root, vocabulary),
        forms,
        WordRules.read(root));
  }

  private static void requirePlainBpe(JsonObject model) {
    // Files of the first years name no type, but only byte-pair models have merges.
    String type = model.getString("type", model.has("merges") ? "BPE" : "nothing");
    if (!type.equals("BPE")) {
      throw model.wrong("type", "BPE, the only model that is supported", type);
    }
    if (model.getDouble("dropout", 0) != 0) {
      throw model.wrong("dropout", "none", model.getDouble("dropout"));
    }
    for (String name : new String[] {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (!model.getString(name, "").isEmpty()) {
        throw model.wrong(
            name, "none: only byte-level models are supported", model.getString(name));
      }
    }
    if (model.getBoolean("byte_fallback", false)) {
      throw model.wrong("byte_fallback", "false: only byte-level models are supported", true);
    }
  }

  private static Map<String, Integer> vocabulary(JsonObject model) {
    JsonObject entries = model.getObject("vocab");
    Map<String, Integer> vocabulary = HashMap.newHashMap(entries.names().size());
    Map<Integer, String> owners = HashMap.newHashMap(entries.names().size());
    for (String token : entries.names()) {
      int id = checkedId(entries, token);
      String other = owners.putIfAbsent(id, token);
      if (other != null) {
        throw new FileFormatException(
            "%s: '%s' and '%s' are both number %d".formatted(entries.source(), other, token, id));
      }
      vocabulary.put(token, id);
    }
    return vocabulary;
  }

  private static int checkedId(JsonObject object, String name) {
    return checkedId(object, name, object.getLong(name));
  }

  static int checkedId(JsonObject object, String name, long id) {
    if (id < 0 || id > MAX_ID) {
      throw object.wrong(name, "a token number from 0 to " + MAX_ID, id);
    }
    return (int) id;
  }

  private static PairMap merges(JsonObject model, Map<String, Integer> vocabulary) {
    List<Object> list = model.getList("merges");
    PairMap merges = new PairMap(list.size());
    for (int rank = 0; rank < list.size(); rank++) {
      String[] pair = pair(model, list.get(rank), rank);
      int left = part(model, vocabulary, pair[0], rank);
      int right = part(model, vocabulary, pair[1], rank);
      int merged = part(model, vocabulary, pair[0] + pair[1], rank);
      merges.put(PairMap.pair(left, right), PairMap.pair(rank, merged));
    }
    return merges;
  }

  /** A merge is written {@code "a b"} or {@code ["a", "b"]}. */
  private static String[] pair(JsonObject model, Object merge, int rank) {
    if (merge instanceof String text) {
      int space = text.indexOf(' ');
      if (space >= 0 && space == text.lastIndexOf(' ')) {
        return new String[] {text.substring(0, space), text.substring(space + 1)};
      }
    }
    if (merge instanceof List<?> parts
        && parts.size() == 2
        && parts.get(0) instanceof String left
        && parts.get(1) instanceof String right) {
      return new String[] {left, right};
    }
    throw model.wrong("merges[" + rank + "]", "two tokens", merge);
  }

  private static int part(
      JsonObject model, Map<String, Integer> vocabulary, String token, int rank) {
    Integer id = vocabulary.get(token);
    if (id == null) {
      throw new FileFormatException(
          "%s: merges[%d] needs token '%s', which is not in the vocabulary"
              .formatted(model.source(), rank, token));
    }
    return id;
  }

  private static void addForms(JsonObject normalizer, List<Normalizer.Form> forms) {
    String type = normalizer.getString("type");
    switch (type) {
      case "NFC" -> forms.add(Normalizer.Form.NFC);
      case "NFD" -> forms.add(Normalizer.Form.NFD);
      case "NFKC" -> forms.add(Normalizer.Form.NFKC);
      case "NFKD" -> forms.add(Normalizer.Form.NFKD);
      case "Sequence" ->
          normalizer.getObjects("normalizers").forEach(element -> addForms(element, forms));
      default -> throw normalizer.wrong("type", "NFC, NFD, NFKC, NFKD or Sequence", type);
    }
  }

  private static void requireByteLevelDecoder(JsonObject decoder) {
    String type = decoder.getString("type");
    List<JsonObject> parts =
        type.equals("Sequence") ? decoder.getObjects("decoders") : List.of(decoder);
    if (parts.size() != 1 || !parts.getFirst().getString("type").equals("ByteLevel")) {
      throw decoder.wrong("type", "ByteLevel", type);
    }
  }

  private static List<AddedToken> added(JsonObject root, Map<String, Integer> vocabulary) {
    List<AddedToken> tokens = new ArrayList<>();
    int chars = 0;
    if (!root.has("added_tokens")) {
      return tokens;
    }
    for (JsonObject entry : root.getObjects("added_tokens")) {
      String content = entry.getString("content");
      chars += content.length();
      if (content.isEmpty() || chars > MAX_ADDED_CHARS) {
        throw entry.wrong("content", "a text of moderate length", content);
      }
      // A token that the model has keeps the model's number, whatever is said here.
      int id = vocabulary.getOrDefault(content, checkedId(entry, "id"));
      boolean special = entry.getBoolean("special", false);
      tokens.add(
          new AddedToken(
              id,
              content,
              special,
              entry.getBoolean("single_word", false),
              entry.getBoolean("lstrip", false),
              entry.getBoolean("rstrip", false),
              entry.getBoolean("normalized", !special)));
    }
    return tokens;
  }
}
