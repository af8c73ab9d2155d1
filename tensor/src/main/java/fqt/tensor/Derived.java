package fqt.tensor;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * What a backend made of a storage whose bytes will not change any more ({@link Ops#freeze}): a
 * weight as its matrix kernel reads it. It belongs to the storage: what a scope frees takes it
 * along, and the garbage collector takes it with everything else that no scope owns.
 */
public final class Derived {
  private final Map<Object, Storage> forms = new HashMap<>();
  private final Set<Object> asked = new HashSet<>();
  private boolean collected;
  private boolean released;

  /**
   * Forms of a storage that has none yet.
   *
   * @param collected whether the garbage collector frees the storage, or else a scope does
   */
  public Derived(boolean collected) {
    this.collected = collected;
  }

  /**
   * A form, made when it is asked for the second time: who uses a weight once does not pay for it.
   *
   * @param key which form of which part of the storage
   * @param allocate its memory, or null where there is no room
   * @param fill writes it
   * @return the form, or null
   */
  public synchronized Storage second(
      Object key, Supplier<Storage> allocate, Consumer<Storage> fill) {
    Storage form = forms.get(key);
    if (form != null || released || asked.add(key)) {
      return form;
    }
    form = allocate.get();
    if (form != null) {
      if (collected) {
        form.detach();
      }
      fill.accept(form);
      forms.put(key, form);
    }
    return form;
  }

  /** Frees all forms, for good. */
  public synchronized void release() {
    released = true;
    drop();
  }

  /** Called when the storage leaves the last scope: forms are made anew when they are used. */
  public synchronized void detach() {
    collected = true;
    drop();
  }

  private void drop() {
    forms.values().forEach(Storage::release);
    forms.clear();
  }
}
