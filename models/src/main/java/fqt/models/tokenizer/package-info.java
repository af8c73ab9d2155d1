/**
 * Tokenizers: text to token ids and back.
 *
 * <p>The way of a text through {@link fqt.models.tokenizer.Tokenizer}: added tokens are cut out,
 * the rest is normalized (NFC), cut into words, and each word's UTF-8 bytes are merged pair by pair
 * into tokens. {@link fqt.models.tokenizer.ChatTemplate} turns a conversation into such a text.
 */
package fqt.models.tokenizer;
