package fqt.tools;

import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.BiConsumer;
import java.util.function.Consumer;

/**
 * The writing of a quantized block. What a GPU holds is brought to the host at once and written by
 * a thread of its own, so that the GPU goes on meanwhile; a block on the CPU is written at once,
 * tensor by tensor.
 */
final class BlockWriting implements AutoCloseable {
  /** Tells names and tensors, one after another; a tensor is valid while it is taken. */
  interface Tensors {
    void each(BiConsumer<String, Tensor> taker);
  }

  /** Nothing was to be written. */
  static final BlockWriting NOTHING = new BlockWriting(CompletableFuture.completedFuture(null));

  private final CompletableFuture<Void> done;

  private BlockWriting(CompletableFuture<Void> done) {
    this.done = done;
  }

  /**
   * Begins to write the tensors of a block.
   *
   * @param device where they are
   * @param write writes what it is given, on the calling thread or another
   */
  static BlockWriting start(Device device, Tensors tensors, Consumer<Tensors> write) {
    if (device.isHost()) {
      write.accept(tensors);
      return NOTHING;
    }
    Map<String, Tensor> fetched = new LinkedHashMap<>();
    List<Scope.Holding> held = new ArrayList<>();
    tensors.each(
        (name, tensor) -> {
          Tensor dense = Ops.contiguous(tensor);
          try (Scope scope = Scope.open()) {
            boolean here = dense.device().isHost();
            fetched.put(name, here ? Ops.copy(dense) : Ops.to(dense, Device.CPU));
            held.add(scope.handOver());
          }
        });
    return new BlockWriting(
        CompletableFuture.runAsync(
            () -> {
              try {
                write.accept(fetched::forEach);
              } finally {
                held.forEach(Scope.Holding::close);
              }
            },
            task -> Thread.ofPlatform().name("writes a block").start(task)));
  }

  /** Waits until the block is on the disk. */
  void end() {
    try {
      done.join();
    } catch (CompletionException e) {
      if (e.getCause() instanceof RuntimeException failure) {
        throw failure;
      }
      throw e;
    }
  }

  /** Waits for the thread, whatever becomes of it: what it writes is no longer needed. */
  @Override
  public void close() {
    done.exceptionally(failure -> null).join();
  }
}
