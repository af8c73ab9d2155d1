package fqt.io;

/** Bounds the work and the memory that all pickles of a file together can take. */
final class PickleBudget {
  private static final int MAX_OPCODES = 1 << 23;
  private static final long MAX_TEXT_BYTES = 1L << 28;

  private final String source;
  private int opcodes;
  private long textBytes;

  PickleBudget(String source) {
    this.source = source;
  }

  void spendOpcode() {
    if (++opcodes > MAX_OPCODES) {
      throw new FileFormatException(
          source + ": the pickle has more than " + MAX_OPCODES + " opcodes");
    }
  }

  void spendText(long bytes) {
    textBytes += bytes;
    if (textBytes > MAX_TEXT_BYTES) {
      throw new FileFormatException(
          source + ": the pickle has more than " + MAX_TEXT_BYTES + " bytes of text");
    }
  }
}
