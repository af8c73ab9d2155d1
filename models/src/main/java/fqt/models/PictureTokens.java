package fqt.models;

import fqt.io.JsonObject;

/**
 * The tokens by which a text shows where a picture stands.
 *
 * @param start before a picture
 * @param picture for each square of a picture
 * @param end after a picture
 */
public record PictureTokens(int start, int picture, int end) {
  /** The ids of Qwen2-VL stand in for entries that old configurations leave out. */
  static PictureTokens read(JsonObject config) {
    return new PictureTokens(
        config.getInt("vision_start_token_id", 151652),
        config.getInt("image_token_id", 151655),
        config.getInt("vision_end_token_id", 151653));
  }
}
