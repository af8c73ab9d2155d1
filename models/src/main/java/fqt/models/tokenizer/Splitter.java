package fqt.models.tokenizer;

import java.util.Map;

/**
 * Cuts text into the words that are tokenized on their own. Each form follows a regular expression
 * that tokenizer files name, written out by hand so that it takes one pass and no memory.
 */
enum Splitter {
  /** GPT-2. */
  GPT2(
      "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
      Integer.MAX_VALUE),
  /** Llama 3: any one character may lead a word, three digits a number. */
  LLAMA3(
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
          + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
      3),
  /** Qwen2: as Llama 3, every digit alone. */
  QWEN2(
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
          + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
      1),
  /** All of the text is one word. */
  WHOLE("", 0);

  private static final byte OTHER = 0;
  private static final byte LETTER = 1;
  private static final byte NUMBER = 2;
  private static final byte SPACE = 3;
  private static final byte NEWLINE = 4;

  /** Kinds of the characters of the basic plane. */
  private static final byte[] KINDS = new byte[1 << 16];

  static {
    for (int c = 0; c < KINDS.length; c++) {
      KINDS[c] = classify(c);
    }
  }

  private static final Map<String, Splitter> BY_PATTERN =
      Map.of(GPT2.pattern, GPT2, LLAMA3.pattern, LLAMA3, QWEN2.pattern, QWEN2);

  private final String pattern;
  private final int maxDigits;

  Splitter(String pattern, int maxDigits) {
    this.pattern = pattern;
    this.maxDigits = maxDigits;
  }

  /** The form of a regular expression, or null if none is known. */
  static Splitter of(String pattern) {
    return BY_PATTERN.get(pattern);
  }

  /** The regular expression that this form follows. */
  String pattern() {
    return pattern;
  }

  /** Where the word ends that begins at an index before the end. */
  int next(char[] text, int from, int end) {
    return switch (this) {
      case WHOLE -> end;
      case GPT2 -> nextOld(text, from, end);
      case LLAMA3, QWEN2 -> nextNew(text, from, end);
    };
  }

  private int nextOld(char[] text, int from, int end) {
    if (text[from] == '\'') {
      int after = contraction(text, from, end, false);
      if (after > from) {
        return after;
      }
    }
    int first = text[from] == ' ' && from + 1 < end ? from + 1 : from;
    byte kind = kind(text, first, end);
    return kind == SPACE || kind == NEWLINE
        ? spaces(text, from, end, false)
        : run(text, first, end, kind, Integer.MAX_VALUE);
  }

  private int nextNew(char[] text, int from, int end) {
    byte kind = kind(text, from, end);
    if (kind == LETTER) {
      return run(text, from, end, LETTER, Integer.MAX_VALUE);
    }
    if (kind == NUMBER) {
      return run(text, from, end, NUMBER, maxDigits);
    }
    if (text[from] == '\'') {
      int after = contraction(text, from, end, true);
      if (after > from) {
        return after;
      }
    }
    int second = from + width(text, from, end);
    byte next = second < end ? kind(text, second, end) : SPACE;
    if (kind != NEWLINE && next == LETTER) {
      return run(text, second, end, LETTER, Integer.MAX_VALUE);
    }
    if (kind == OTHER || text[from] == ' ' && next == OTHER) {
      int others = run(text, kind == OTHER ? from : second, end, OTHER, Integer.MAX_VALUE);
      return run(text, others, end, NEWLINE, Integer.MAX_VALUE);
    }
    return spaces(text, from, end, true);
  }

  /**
   * The end of white space: behind its last line break if those count, at the end of the text, or
   * one before the end if there is more than one, so that the next word gets a space to begin with.
   */
  private static int spaces(char[] text, int from, int end, boolean lineBreaksCount) {
    int after = from;
    int afterLineBreak = from;
    while (after < end && KINDS[text[after]] >= SPACE) {
      if (KINDS[text[after++]] == NEWLINE) {
        afterLineBreak = after;
      }
    }
    if (lineBreaksCount && afterLineBreak > from) {
      return afterLineBreak;
    }
    return after == end || after == from + 1 ? after : after - 1;
  }

  /** The end of at most so many characters of one kind. */
  private static int run(char[] text, int from, int end, byte kind, int most) {
    int at = from;
    for (int n = 0; n < most && at < end; n++) {
      if (kind(text, at, end) != kind) {
        break;
      }
      at += width(text, at, end);
    }
    return at;
  }

  /** The end of 's, 't, 'm, 'd, 're, 've or 'll, or the beginning if there is none of them. */
  private static int contraction(char[] text, int from, int end, boolean anyCase) {
    int first = from + 1 < end ? fold(text[from + 1], anyCase) : 0;
    if (first == 's' || first == 't' || first == 'm' || first == 'd') {
      return from + 2;
    }
    int second = from + 2 < end ? fold(text[from + 2], anyCase) : 0;
    boolean two = (first == 'r' || first == 'v') && second == 'e' || first == 'l' && second == 'l';
    return two ? from + 3 : from;
  }

  private static int fold(char c, boolean anyCase) {
    if (!anyCase) {
      return c;
    }
    // The long s is the only other character that folds to one of these letters.
    return c == 'ſ' ? 's' : c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
  }

  private static int width(char[] text, int at, int end) {
    boolean pair =
        Character.isHighSurrogate(text[at])
            && at + 1 < end
            && Character.isLowSurrogate(text[at + 1]);
    return pair ? 2 : 1;
  }

  private static byte kind(char[] text, int at, int end) {
    return width(text, at, end) == 1
        ? KINDS[text[at]]
        : classify(Character.toCodePoint(text[at], text[at + 1]));
  }

  private static byte classify(int point) {
    return switch (Character.getType(point)) {
      case Character.UPPERCASE_LETTER,
          Character.LOWERCASE_LETTER,
          Character.TITLECASE_LETTER,
          Character.MODIFIER_LETTER,
          Character.OTHER_LETTER ->
          LETTER;
      case Character.DECIMAL_DIGIT_NUMBER, Character.LETTER_NUMBER, Character.OTHER_NUMBER ->
          NUMBER;
      case Character.SPACE_SEPARATOR, Character.LINE_SEPARATOR, Character.PARAGRAPH_SEPARATOR ->
          SPACE;
      default ->
          point == '\r' || point == '\n'
              ? NEWLINE
              : point >= '\t' && point <= '\r' || point == 0x85 ? SPACE : OTHER;
    };
  }

  /** Whether a character is white space, as the property White_Space has it. */
  static boolean isSpace(char c) {
    return KINDS[c] >= SPACE;
  }
}
