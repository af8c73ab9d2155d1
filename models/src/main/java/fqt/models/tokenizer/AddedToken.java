package fqt.models.tokenizer;

/**
 * A token that is found in the text before any word is, such as {@code <|im_end|>}.
 *
 * @param id its number
 * @param content its text
 * @param special whether decoding may leave it out
 * @param singleWord whether it counts only if no word character touches it
 * @param leftStrip whether it swallows the white space before it
 * @param rightStrip whether it swallows the white space after it
 * @param normalized whether it is looked for after normalization, and normalized itself
 */
record AddedToken(
    int id,
    String content,
    boolean special,
    boolean singleWord,
    boolean leftStrip,
    boolean rightStrip,
    boolean normalized) {
  /** This token, looked for under another text. */
  AddedToken withContent(String other) {
    return new AddedToken(id, other, special, singleWord, leftStrip, rightStrip, normalized);
  }
}
