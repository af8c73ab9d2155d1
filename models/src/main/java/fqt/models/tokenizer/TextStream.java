package fqt.models.tokenizer;

import java.util.Arrays;

/**
 * Turns ids into text one at a time. Bytes of a character that is not complete yet are held back
 * until the token that completes it. For one thread.
 */
public final class TextStream {
  private final Tokenizer tokenizer;
  private final boolean skipSpecial;
  private byte[] pending = new byte[0];

  TextStream(Tokenizer tokenizer, boolean skipSpecial) {
    this.tokenizer = tokenizer;
    this.skipSpecial = skipSpecial;
  }

  /**
   * {@return the text that a token completes, which may be empty}
   *
   * @param id the next token of the text
   * @throws IndexOutOfBoundsException if the id is negative
   */
  public String next(int id) {
    byte[] more = tokenizer.bytes(id);
    return skipSpecial && tokenizer.isSpecial(id) ? "" : decode(more, false);
  }

  /** {@return what is still held back, as U+FFFD; the stream can then be used again} */
  public String finish() {
    return decode(new byte[0], true);
  }

  private String decode(byte[] more, boolean last) {
    byte[] all = Arrays.copyOf(pending, pending.length + more.length);
    System.arraycopy(more, 0, all, pending.length, more.length);
    StringBuilder text = new StringBuilder(all.length);
    int used = Utf8.decode(all, all.length, last, text);
    pending = Arrays.copyOfRange(all, used, all.length);
    return text.toString();
  }
}
