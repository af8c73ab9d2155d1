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
    /**
     * Called before the module computes.
     *
     * @param module the module that is about to run
     * @param input what goes in, the very tensor
     * @param args what the module needs besides
     */
    void before(Module module, Tensor input, LayerArgs args);
  }

  /** Sees what a module computed. */
  @FunctionalInterface
  public interface PostHook {
    /**
     * Called after the module has computed.
     *
     * @param module the module that has run
     * @param input what went in, the very tensor
     * @param args what the module needed besides
     * @param output what came out, the very tensor
     */
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

    /** {@return the last part of the child's path} */
    public String name() {
      return name;
    }

    /** {@return what stands in this place now} */
    public Module get() {
      return module;
    }

    /**
     * Puts another module in this place.
     *
     * @param replacement takes the same shapes in and gives the same shapes out
     */
    public void set(Module replacement) {
      module = replacement;
    }

    /**
     * Runs the module in this place, hooks included.
     *
     * @param input as the module's {@link Module#forward} wants it
     * @param args what the module needs besides
     * @return the module's output
     */
    public Tensor apply(Tensor input, LayerArgs args) {
      return module.apply(input, args);
    }
  }

  private final SequencedMap<String, Child> children = new LinkedHashMap<>();
  private final SequencedMap<String, Tensor> parameters = new LinkedHashMap<>();
  private final List<PreHook> preHooks = new ArrayList<>();
  private final List<PostHook> postHooks = new ArrayList<>();

  /** A module without children and parameters; the constructor of a block adds its own. */
  protected Module() {}

  /**
   * Computes the output; runs between the hooks.
   *
   * @param input usually F32 [tokens, features]
   * @param args positions, mask and cache of those tokens
   * @return usually F32 [tokens, features], in the scope that is current at the call
   */
  protected abstract Tensor forward(Tensor input, LayerArgs args);

  /** {@return what may be rescaled inside this module without changing its output} */
  public List<ScaleFold> scaleFolds() {
    return List.of();
  }

  /**
   * {@return everything that reads this module's input as it came in: itself, or those of its
   * parts}
   */
  public List<Module> inputReaders() {
    return List.of(this);
  }

  /**
   * Runs the hooks and the computation.
   *
   * @param input handed to {@link #forward} and to the hooks as it is
   * @param args likewise
   * @return what {@link #forward} gave, after the hooks have seen it
   */
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

  /**
   * Adds a child; for constructors.
   *
   * @param name last part of its path; no dots
   * @param module what stands there at first
   * @return its slot, through which the parent is to reach it
   */
  protected final Child child(String name, Module module) {
    Child child = new Child(name, module);
    children.put(name, child);
    return child;
  }

  /**
   * Adds a parameter, or replaces it; a null tensor is left out.
   *
   * @param name last part of its name in a checkpoint, such as {@code weight}
   * @param tensor of any type and shape, or null
   */
  protected final void parameter(String name, Tensor tensor) {
    if (tensor == null) {
      parameters.remove(name);
    } else {
      parameters.put(name, tensor);
    }
  }

  /** {@return the children, in the order they were added} */
  public final List<Child> children() {
    return List.copyOf(children.values());
  }

  /**
   * {@return this module's own parameters by name, in the order they were added; a read-only view}
   */
  public final SequencedMap<String, Tensor> parameters() {
    return Collections.unmodifiableSequencedMap(parameters);
  }

  /**
   * Lets a module's own parameters outlive a scope.
   *
   * @param <M> the module's own class
   * @param scope the scope that owns the parameters now
   * @param module the module; its children are left alone
   * @return {@code module}
   */
  public static <M extends Module> M keep(Scope scope, M module) {
    module.parameters().values().forEach(scope::keep);
    return module;
  }

  /**
   * Visits this module and all below it, parents first, with their paths; this one's is "".
   *
   * @param visitor takes the path, dots between names, and the module there
   */
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
   * {@return the slot in which a descendant stands}
   *
   * @param path names of children joined by dots, not empty
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

  /**
   * {@return the descendant at a path; the empty path is this module}
   *
   * @param path names of children joined by dots
   * @throws NoSuchElementException if a part of the path names no child
   */
  public final Module find(String path) {
    return path.isEmpty() ? this : place(path).get();
  }

  /** Whether anyone looks at what goes into this module or comes out of it. */
  final boolean hasHooks() {
    return !preHooks.isEmpty() || !postHooks.isEmpty();
  }

  /**
   * Adds a hook that runs before the computation.
   *
   * @param hook called at each run, after those added earlier
   * @return removes the hook when closed
   */
  public final Registration before(PreHook hook) {
    preHooks.add(hook);
    return () -> preHooks.remove(hook);
  }

  /**
   * Adds a hook that runs after the computation.
   *
   * @param hook called at each run, after those added earlier
   * @return removes the hook when closed
   */
  public final Registration after(PostHook hook) {
    postHooks.add(hook);
    return () -> postHooks.remove(hook);
  }
}
