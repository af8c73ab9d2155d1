package fqt.models.tokenizer;

import java.nio.file.Files;
import java.nio.file.Path;
import java.text.Normalizer;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/**
 * Text to token ids and back, as a model's {@code tokenizer.json} says: byte-level byte-pair
 * encoding with the word patterns of GPT-2, Llama 3 and Qwen2. Any thread may use it.
 *
 * {@snippet :
 * Tokenizer tokenizer = Tokenizer.load(Path.of("Qwen2.5-0.5B"));
 * int[] ids = tokenizer.encode("Hello, world!");
 * String text = tokenizer.decode(ids, true);
 * }
 */
public final class Tokenizer {
  /** Below this character, text is in every normal form that composes. */
  private static final char FIRST_COMBINING = 0x300;

  private final Map<String, Integer> vocabulary;
  private final boolean ignoreMerges;
  private final Bpe bpe;
  private final WordRules rules;
  private final List<Normalizer.Form> forms;
  private final AddedTokens rawTokens;
  private final AddedTokens normalizedTokens;
  private final WordCache cache = new WordCache();
  private final Map<String, Integer> ids;
  private final String[] tokens;
  private final byte[][] bytes;
  private final BitSet special = new BitSet();

  private Tokenizer(TokenizerFile file) {
    vocabulary = file.vocabulary();
    ignoreMerges = file.ignoreMerges();
    rules = file.words();
    forms = file.forms();
    rawTokens = new AddedTokens(file.added().stream().filter(t -> !t.normalized()).toList());
    normalizedTokens =
        new AddedTokens(
            file.added().stream().filter(AddedToken::normalized).map(this::normalized).toList());
    int[] byteIds = new int[256];
    for (int b = 0; b < byteIds.length; b++) {
      byteIds[b] = vocabulary.getOrDefault(String.valueOf(ByteLevel.spell(b)), -1);
    }
    bpe = new Bpe(byteIds, file.merges());
    ids = new HashMap<>(vocabulary);
    for (AddedToken token : file.added()) {
      ids.put(token.content(), token.id());
      special.set(token.id(), token.special());
    }
    int size = ids.values().stream().mapToInt(id -> id + 1).max().orElse(0);
    tokens = new String[size];
    bytes = new byte[size][];
    vocabulary.forEach(this::describe);
    file.added().forEach(token -> describe(token.content(), token.id()));
  }

  private void describe(String token, int id) {
    tokens[id] = token;
    bytes[id] = ByteLevel.read(token);
  }

  private AddedToken normalized(AddedToken token) {
    return token.withContent(normalize(token.content()));
  }

  /**
   * Reads a {@code tokenizer.json}.
   *
   * @param path the file, or the folder that holds it
   * @return ready to encode, for any number of threads
   * @throws fqt.io.FileFormatException if it is malformed, or asks for a model, a normalizer, a
   *     pattern or another part that is not supported
   * @throws java.io.UncheckedIOException if it cannot be read
   */
  public static Tokenizer load(Path path) {
    Path file = Files.isDirectory(path) ? path.resolve("tokenizer.json") : path;
    return new Tokenizer(TokenizerFile.read(file));
  }

  /**
   * {@return the ids of a text, framed by the tokens that the model wants around it, if any}
   *
   * @param text any text; added tokens in it are recognised
   */
  public int[] encode(String text) {
    return encode(text, true);
  }

  /**
   * {@return the ids of a text} Added tokens such as {@code <|im_end|>} are recognised in it.
   *
   * @param text any text
   * @param framed whether the tokens that the model wants around a text are added
   * @throws IllegalArgumentException if the text has a byte that the vocabulary lacks
   */
  public int[] encode(String text, boolean framed) {
    IntList out = new IntList(text.length() / 3);
    if (framed) {
      out.addAll(rules.before());
    }
    rawTokens.split(
        text,
        new AddedTokens.Receiver() {
          @Override
          public void text(String part) {
            encodeRaw(part, out);
          }

          @Override
          public void token(int id) {
            out.add(id);
          }
        });
    if (framed) {
      out.addAll(rules.after());
    }
    return out.toArray();
  }

  private void encodeRaw(String text, IntList out) {
    normalizedTokens.split(
        normalize(text),
        new AddedTokens.Receiver() {
          @Override
          public void text(String part) {
            encodeWords(part, out);
          }

          @Override
          public void token(int id) {
            out.add(id);
          }
        });
  }

  private String normalize(String text) {
    String result = text;
    for (Normalizer.Form form : forms) {
      boolean composes = form == Normalizer.Form.NFC;
      if (!composes || result.chars().anyMatch(c -> c >= FIRST_COMBINING)) {
        result = Normalizer.normalize(result, form);
      }
    }
    return result;
  }

  private void encodeWords(String text, IntList out) {
    boolean prefix = rules.prefixSpace() && !text.startsWith(" ");
    char[] chars = prefix ? (" " + text).toCharArray() : text.toCharArray();
    for (int from = 0; from < chars.length; ) {
      int to = rules.splitter().next(chars, from, chars.length);
      int[] word = cache.get(chars, from, to);
      if (word == null) {
        word = encodeWord(Utf8.encode(chars, from, to));
        cache.put(chars, from, to, word);
      }
      out.addAll(word);
      from = to;
    }
  }

  private int[] encodeWord(byte[] word) {
    if (ignoreMerges) {
      Integer id = vocabulary.get(ByteLevel.spell(word));
      if (id != null) {
        return new int[] {id};
      }
    }
    return bpe.encode(word);
  }

  /**
   * {@return the text of ids, special tokens included}
   *
   * @param ids in the order of the text
   */
  public String decode(int... ids) {
    return decode(ids, false);
  }

  /**
   * {@return the text of ids} An id without a token, as padded vocabularies have them, has no text;
   * bytes that are not UTF-8 become U+FFFD.
   *
   * @param ids in the order of the text
   * @param skipSpecial whether special tokens are left out
   * @throws IndexOutOfBoundsException if an id is negative
   */
  public String decode(int[] ids, boolean skipSpecial) {
    TextStream stream = stream(skipSpecial);
    StringBuilder text = new StringBuilder();
    for (int id : ids) {
      text.append(stream.next(id));
    }
    return text.append(stream.finish()).toString();
  }

  /**
   * Decodes ids one at a time, for text that is shown as it is generated.
   *
   * @param skipSpecial whether special tokens are left out
   * @return a decoder that keeps the bytes of a character until it is complete
   */
  public TextStream stream(boolean skipSpecial) {
    return new TextStream(this, skipSpecial);
  }

  /** The bytes of a token, not to be changed; none if there is no such token. */
  byte[] bytes(int id) {
    if (id < 0) {
      throw new IndexOutOfBoundsException("token id " + id + " is negative");
    }
    return id < bytes.length && bytes[id] != null ? bytes[id] : new byte[0];
  }

  /**
   * {@return whether a token is special: a mark for the model rather than text}
   *
   * @param id any id, also one without a token
   */
  public boolean isSpecial(int id) {
    return special.get(id);
  }

  /**
   * Looks up a token as {@code tokenizer.json} spells it, such as {@code <|endoftext|>}.
   *
   * @param token with the byte-level alphabet, in which a space is Ġ
   * @return its id, or empty if there is no such token
   */
  public OptionalInt id(String token) {
    Integer id = ids.get(token);
    return id == null ? OptionalInt.empty() : OptionalInt.of(id);
  }

  /**
   * {@return a token as {@code tokenizer.json} spells it}
   *
   * @param id of a token
   * @throws IndexOutOfBoundsException if there is no such id
   */
  public String token(int id) {
    if (id < 0 || id >= tokens.length || tokens[id] == null) {
      throw new IndexOutOfBoundsException("there is no token " + id);
    }
    return tokens[id];
  }

  /** {@return one more than the largest id} */
  public int size() {
    return tokens.length;
  }

  @Override
  public String toString() {
    long known = Arrays.stream(tokens).filter(token -> token != null).count();
    return "byte-level BPE tokenizer of %d tokens, words as %s".formatted(known, rules.splitter());
  }
}
