package fqt.cuda;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.stream.IntStream;
import jcuda.driver.JCudaDriver;

/**
 * Two pieces of pinned host memory through which everything large goes to or from a GPU: the copy
 * engine reads and writes them at full speed while the processor fills or empties the other. What
 * is small goes directly; the driver keeps such bytes in its own buffers.
 *
 * <p>What goes to the GPU has a stream of its own, beside what computes: a thread that brings the
 * next weights takes no time from another that launches kernels. One for each direction; threads
 * take turns.
 */
final class Staging {
  private static final long PIECE = 16L << 20;
  private static final long DIRECT = 64L << 10;
  private static final int PIECES = 2;
  private static final long SLICE = 512L << 10;

  private final CudaContext context;
  private final Arena arena;
  private final MemorySegment[] pieces = new MemorySegment[PIECES];
  private final CudaEvent[] passed = new CudaEvent[PIECES];
  private CudaStream beside;
  private CudaEvent before;

  Staging(CudaContext context, Arena arena) {
    this.context = context;
    this.arena = arena;
  }

  /**
   * Copies host memory to the GPU: after the work that was put into the main stream before, and
   * before what is put into it afterwards. The source may be changed as soon as this returns.
   */
  synchronized void upload(MemorySegment source, long address) {
    long size = source.byteSize();
    if (size <= DIRECT) {
      put(source, address, context.stream());
      return;
    }
    prepare();
    if (beside == null) {
      beside = context.newStream();
      before = new CudaEvent(context);
    }
    before.record(context.stream());
    beside.await(before);
    int turn = 0;
    for (long at = 0; at < size; at += PIECE, turn = (turn + 1) % PIECES) {
      long bytes = Math.min(PIECE, size - at);
      passed[turn].synchronize();
      copy(source, at, pieces[turn], bytes);
      put(pieces[turn].asSlice(0, bytes), address + at, beside);
      passed[turn].record(beside);
    }
    context.stream().await(passed[(turn + PIECES - 1) % PIECES]);
  }

  /** Copies memory of the GPU to the host, after all work before; done when this returns. */
  synchronized void download(long address, MemorySegment target) {
    long size = target.byteSize();
    if (size <= DIRECT) {
      get(address, target);
      context.stream().synchronize();
      return;
    }
    prepare();
    long fetched = 0;
    for (long at = 0; at < size; at += PIECE) {
      while (fetched < size && fetched < at + PIECES * PIECE) {
        int turn = (int) (fetched / PIECE % PIECES);
        get(address + fetched, pieces[turn].asSlice(0, Math.min(PIECE, size - fetched)));
        passed[turn].record(context.stream());
        fetched = Math.min(size, fetched + PIECE);
      }
      int turn = (int) (at / PIECE % PIECES);
      passed[turn].synchronize();
      MemorySegment.copy(pieces[turn], 0, target, at, Math.min(PIECE, size - at));
    }
  }

  /**
   * Copies by several threads: one alone, with the faults of a file that is mapped for the first
   * time, is several times slower than the way to the GPU. An arena that is confined to one thread
   * must not keep the others out, so memory is addressed as such.
   */
  private static void copy(MemorySegment confined, long from, MemorySegment target, long bytes) {
    MemorySegment source =
        MemorySegment.ofAddress(confined.address()).reinterpret(confined.byteSize());
    IntStream.range(0, (int) Math.ceilDiv(bytes, SLICE))
        .parallel()
        .forEach(
            i -> {
              long at = i * SLICE;
              long length = Math.min(SLICE, bytes - at);
              MemorySegment.copy(source, from + at, target, at, length);
            });
  }

  private void put(MemorySegment source, long address, CudaStream stream) {
    context.check(
        JCudaDriver.cuMemcpyHtoDAsync(
            new Handles.DevicePointer(address),
            new Handles.HostPointer(source),
            source.byteSize(),
            stream.handle()),
        "copying " + source.byteSize() + " bytes to " + context.device());
  }

  private void get(long address, MemorySegment target) {
    context.check(
        JCudaDriver.cuMemcpyDtoHAsync(
            new Handles.HostPointer(target),
            new Handles.DevicePointer(address),
            target.byteSize(),
            context.stream().handle()),
        "copying " + target.byteSize() + " bytes from " + context.device());
  }

  private void prepare() {
    if (pieces[0] == null) {
      MemorySegment memory = arena.allocate(PIECES * PIECE, 4096);
      context.check(
          JCudaDriver.cuMemHostRegister(new Handles.HostPointer(memory), PIECES * PIECE, 0),
          "pinning " + PIECES * PIECE + " bytes of host memory");
      for (int i = 0; i < PIECES; i++) {
        pieces[i] = memory.asSlice(i * PIECE, PIECE);
        passed[i] = new CudaEvent(context);
      }
    }
  }

  /** Gives the memory back to the pageable; the copies have ended. */
  void close() {
    if (beside != null) {
      before.close();
      beside.close();
    }
    if (pieces[0] != null) {
      for (CudaEvent event : passed) {
        event.close();
      }
      context.check(
          JCudaDriver.cuMemHostUnregister(new Handles.HostPointer(pieces[0])),
          "unpinning host memory");
    }
  }
}
