package fqt.tools.plot;

import java.awt.Color;

/**
 * Colours of magnitudes, from a dark blue over green to yellow: the lightness rises all the way, so
 * that the order survives a grey print and colour-blind eyes.
 */
final class ColourScale {
  private static final int[] STOPS = {
    0x2a2a6c, 0x2f4f9e, 0x2878ad, 0x1f9da4, 0x3dba8c, 0x83ce67, 0xcbdb48, 0xfbe34a
  };

  private ColourScale() {}

  /** The colour of a number from 0 to 1; others count as the nearer end. */
  static Color at(double value) {
    return lit(value, 1);
  }

  /** The colour in more or less light; 1 is as it is. */
  static Color lit(double value, double light) {
    double place = Math.clamp(value, 0, 1) * (STOPS.length - 1);
    int low = (int) Math.min(STOPS.length - 2, Math.floor(place));
    double part = place - low;
    return new Color(
        mixed(STOPS[low], STOPS[low + 1], part, 16, light),
        mixed(STOPS[low], STOPS[low + 1], part, 8, light),
        mixed(STOPS[low], STOPS[low + 1], part, 0, light));
  }

  private static int mixed(int from, int to, double part, int shift, double light) {
    int a = from >> shift & 0xff;
    int b = to >> shift & 0xff;
    return (int) Math.clamp(Math.rint((a + part * (b - a)) * light), 0, 255);
  }
}
