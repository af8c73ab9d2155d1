package fqt.nn;

import java.util.ArrayList;
import java.util.List;

/** Hooks and other changes to a network that go away together. */
public final class Hooks implements AutoCloseable {
  private final List<Module.Registration> registrations = new ArrayList<>();

  /** No hooks as yet. */
  public Hooks() {}

  /**
   * Adds a registration, to be closed with the others.
   *
   * @param registration closed when these hooks are
   */
  public void add(Module.Registration registration) {
    registrations.add(registration);
  }

  /** Removes all; closing twice does nothing. */
  @Override
  public void close() {
    registrations.forEach(Module.Registration::close);
    registrations.clear();
  }
}
