package fqt.nn;

import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.SequencedMap;
import java.util.function.BiConsumer;

/**
 * A part of a network: one tensor in, one tensor out, with named parameters and named children.
 * {@link #apply} runs it; hooks before and after see the very tensors that go in and come out.
 *
 * <p>A block reaches its children through {@link Child} slots, so that a child can be replaced (a
 * linear by its quantized form) while the block stays the same. Names follow the Hugging Face
 * checkpoints: the path of a module is its children's names joined by dots.
 */
public abstract class Module {
  /** Sees a module run. */
  @FunctionalInterface
  public interface PreHook {
    /** Called before the module computes. */
    void before(Module module, Tensor input, LayerArgs args);
  }

  /** Sees what a module computed. */
  @FunctionalInterface
  public interface PostHook {
    /** Called after the module has computed. */
    void after(Module module, Tensor input, LayerArgs args, Tensor output);
  }

  /** Removes a hook when closed; closing twice does nothing. */
  @FunctionalInterface
  public interface Registration extends AutoCloseable {
    @Override
    void close();
  }

  /** The place of a child in its parent. */
  public static final class Child {
    private final String name;
    private Module module;

    private Child(String name, Module module) {
      this.name = name;
      this.module = module;
    }

    /** Last part of the child's path. */
    public String name() {
      return name;
    }

    /** What stands in this place now. */
    public Module get() {
      return module;
    }

    /** Puts another module in this place. */
    public void set(Module replacement) {
      module = replacement;
    }

    /** Runs the module in this place. */
    public Tensor apply(Tensor input, LayerArgs args) {
      return module.apply(input, args);
    }
  }

  private final SequencedMap<String, Child> children = new LinkedHashMap<>();
  private final SequencedMap<String, Tensor> parameters = new LinkedHashMap<>();
  private final List<PreHook> preHooks = new ArrayList<>();
  private final List<PostHook> postHooks = new ArrayList<>();

  /** Computes the output; runs between the hooks. */
  protected abstract Tensor forward(Tensor input, LayerArgs args);

  /** What may be rescaled inside this module without changing its output. */
  public List<ScaleFold> scaleFolds() {
    return List.of();
  }

  /** Everything that reads this module's input as it came in: itself, or those of its parts. */
  public List<Module> inputReaders() {
    return List.of(this);
  }

  /** Runs the hooks and the computation. */
  public final Tensor apply(Tensor input, LayerArgs args) {
    for (PreHook hook : preHooks) {
      hook.before(this, input, args);
    }
    Tensor output = forward(input, args);
    for (PostHook hook : postHooks) {
      hook.after(this, input, args, output);
    }
    return output;
  }

  /** Adds a child; for constructors. */
  protected final Child child(String name, Module module) {
    Child child = new Child(name, module);
    children.put(name, child);
    return child;
  }

  /** Adds a parameter, or replaces it; a null tensor is left out. */
  protected final void parameter(String name, Tensor tensor) {
    if (tensor == null) {
      parameters.remove(name);
    } else {
      parameters.put(name, tensor);
    }
  }

  /** The children, in the order they were added. */
  public final List<Child> children() {
    return List.copyOf(children.values());
  }

  /** This module's own parameters by name, in the order they were added; a read-only view. */
  public final SequencedMap<String, Tensor> parameters() {
    return Collections.unmodifiableSequencedMap(parameters);
  }

  /** Lets a module's own parameters outlive a scope. */
  public static <M extends Module> M keep(Scope scope, M module) {
    module.parameters().values().forEach(scope::keep);
    return module;
  }

  /** Visits this module and all below it, parents first, with their paths; this one's is "". */
  public final void visit(BiConsumer<String, Module> visitor) {
    visit("", visitor);
  }

  private void visit(String path, BiConsumer<String, Module> visitor) {
    visitor.accept(path, this);
    for (Child child : children.values()) {
      child.get().visit(path.isEmpty() ? child.name() : path + "." + child.name(), visitor);
    }
  }

  /**
   * Promises that the parameters here and below will not be written to; replacing them is still
   * allowed. Products may then keep their weights packed: see {@link Ops#freeze}.
   */
  public final void freeze() {
    visit((path, module) -> module.parameters.values().forEach(Ops::freeze));
  }

  /**
   * The place of a descendant.
   *
   * @throws NoSuchElementException if a part of the path names no child
   */
  public final Child place(String path) {
    int dot = path.indexOf('.');
    Child child = children.get(dot < 0 ? path : path.substring(0, dot));
    if (child == null) {
      throw new NoSuchElementException(
          "no module '" + path + "'; the children here are " + children.keySet());
    }
    return dot < 0 ? child : child.get().place(path.substring(dot + 1));
  }

  /** The descendant at a path; the empty path is this module. */
  public final Module find(String path) {
    return path.isEmpty() ? this : place(path).get();
  }

  /** Whether anyone looks at what goes into this module or comes out of it. */
  final boolean hasHooks() {
    return !preHooks.isEmpty() || !postHooks.isEmpty();
  }

  /** Adds a hook that runs before the computation. */
  public final Registration before(PreHook hook) {
    preHooks.add(hook);
    return () -> preHooks.remove(hook);
  }

  /** Adds a hook that runs after the computation. */
  public final Registration after(PostHook hook) {
    postHooks.add(hook);
    return () -> postHooks.remove(hook);
  }
}
