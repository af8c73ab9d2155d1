package fqt.tensor;

import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;

/**
 * Decides when tensors are freed. Every tensor that an operation allocates belongs to the innermost
 * open scope of the calling thread and is freed when that scope closes, unless {@link #keep} moved
 * it one scope outward. Without an open scope, tensors are freed by the garbage collector.
 *
 * {@snippet :
 * try (Scope scope = Scope.open()) {
 *   Tensor hidden = Ops.linear(input, up, null);
 *   return scope.keep(Ops.linear(hidden, down, null)); // hidden is freed here
 * }
 * }
 *
 * A scope belongs to the thread that opened it; scopes close in the reverse order of opening.
 */
public final class Scope implements AutoCloseable {
  private static final ThreadLocal<Scope> CURRENT = new ThreadLocal<>();

  private final Scope parent;
  private final Thread owner = Thread.currentThread();
  private final Set<Storage> storages = Collections.newSetFromMap(new IdentityHashMap<>());
  private boolean closed;

  private Scope(Scope parent) {
    this.parent = parent;
  }

  /**
   * Opens a scope on the calling thread, inside the one that is open now, if any.
   *
   * @return the new scope, now the calling thread's innermost
   */
  public static Scope open() {
    Scope scope = new Scope(CURRENT.get());
    CURRENT.set(scope);
    return scope;
  }

  /** Makes the calling thread's innermost scope, if there is one, the owner of a new storage. */
  static void adopt(Storage storage) {
    Scope scope = CURRENT.get();
    if (scope == null) {
      storage.detach();
    } else {
      scope.storages.add(storage);
    }
  }

  /**
   * Lets a tensor outlive this scope: its storage moves to the enclosing scope, or to the garbage
   * collector if there is none. A tensor that this scope does not own is left alone.
   *
   * @param tensor any tensor, a view included
   * @return the same tensor
   * @throws IllegalStateException if the scope is closed or belongs to another thread
   */
  public Tensor keep(Tensor tensor) {
    requireOpen();
    Storage storage = tensor.storage();
    if (storages.remove(storage)) {
      if (parent == null) {
        storage.detach();
      } else {
        parent.storages.add(storage);
      }
    }
    return tensor;
  }

  /**
   * Lets several tensors outlive this scope; those that are null are left out.
   *
   * @param tensors any tensors, views included; null for none
   */
  public void keepAll(Tensor... tensors) {
    for (Tensor tensor : tensors) {
      if (tensor != null) {
        keep(tensor);
      }
    }
  }

  /** Tensors that live until this is closed; closing twice does nothing. */
  @FunctionalInterface
  public interface Holding extends AutoCloseable {
    @Override
    void close();
  }

  /**
   * Takes every tensor that this scope owns out of the nesting of scopes: they live until the
   * holding is closed, on whatever thread. For what is made inside a scope and outlives all of
   * them, such as the weights of a layer that is loaded when first needed.
   *
   * @return frees the tensors when closed
   * @throws IllegalStateException if the scope is closed or belongs to another thread
   */
  public Holding handOver() {
    requireOpen();
    List<Storage> taken = List.copyOf(storages);
    storages.clear();
    return () -> taken.forEach(Storage::release);
  }

  /**
   * Frees every tensor that this scope owns.
   *
   * @throws IllegalStateException if an inner scope is still open, or on another thread
   */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    requireOpen();
    if (CURRENT.get() != this) {
      throw new IllegalStateException("a scope opened inside this one is still open");
    }
    closed = true;
    if (parent == null) {
      CURRENT.remove();
    } else {
      CURRENT.set(parent);
    }
    storages.forEach(Storage::release);
    storages.clear();
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("the scope is closed");
    }
    if (Thread.currentThread() != owner) {
      throw new IllegalStateException(
          "the scope belongs to thread "
              + owner.getName()
              + ", not to "
              + Thread.currentThread().getName());
    }
  }
}
