package fqt.quant.flow;

/**
 * What a hook throws to skip the rest of a layer that is only observed. The scopes that the layer
 * opened close on the way.
 */
public final class Enough extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** The only one: holds no stack trace, suppresses nothing. */
  @SuppressWarnings("StaticAssignmentOfThrowable")
  static final Enough SEEN = new Enough();

  private Enough() {
    super("seen enough", null, false, false);
  }
}
