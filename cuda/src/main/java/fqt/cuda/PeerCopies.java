package fqt.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.Map;
import jcuda.driver.JCudaDriver;

/**
 * Copies to one GPU from the others of the host: directly where they are connected, otherwise
 * through the host. Either way the streams of both keep the order, and the calling thread does not
 * wait for a direct copy.
 */
final class PeerCopies {
  // Values of CUmemLocationType and CUmemAccess_flags.
  private static final int LOCATION_DEVICE = 1;
  private static final int READ_WRITE = 3;
  private static final long PIECE = 32L << 20;

  private final CudaContext own;
  private final Map<CudaContext, Boolean> connected = new HashMap<>();

  PeerCopies(CudaContext own) {
    this.own = own;
  }

  /**
   * Copies bytes: after the work that the streams of both GPUs hold now, and before what is put
   * into either afterwards.
   */
  synchronized void copy(CudaContext peer, long from, long to, long byteSize) {
    if (connected.computeIfAbsent(peer, this::connect)) {
      direct(peer, from, to, byteSize);
    } else {
      throughHost(peer, from, to, byteSize);
    }
  }

  private void direct(CudaContext peer, long from, long to, long byteSize) {
    try (CudaEvent before = new CudaEvent(peer);
        CudaEvent after = new CudaEvent(own)) {
      before.record(peer.stream());
      own.stream().await(before);
      own.bind();
      own.check(
          JCudaDriver.cuMemcpyDtoDAsync(
              new Handles.DevicePointer(to),
              new Handles.DevicePointer(from),
              byteSize,
              own.stream().handle()),
          "copying " + byteSize + " bytes from " + peer.device() + " to " + own.device());
      after.record(own.stream());
      peer.stream().await(after);
    }
  }

  private void throughHost(CudaContext peer, long from, long to, long byteSize) {
    try (Arena between = Arena.ofConfined()) {
      MemorySegment piece = between.allocate(Math.min(byteSize, PIECE), Long.BYTES);
      for (long at = 0; at < byteSize; at += PIECE) {
        MemorySegment bytes = piece.asSlice(0, Math.min(PIECE, byteSize - at));
        peer.download(from + at, bytes);
        own.upload(bytes, to + at);
      }
    }
  }

  /** Lets each of two GPUs read the memory of the other, if they are connected. */
  private boolean connect(CudaContext peer) {
    if (!reaches(own, peer) || !reaches(peer, own)) {
      return false;
    }
    open(peer, own);
    open(own, peer);
    return true;
  }

  private static boolean reaches(CudaContext reader, CudaContext owner) {
    int[] can = new int[1];
    reader.check(
        JCudaDriver.cuDeviceCanAccessPeer(
            can,
            CudaDevices.device(reader.device().index()),
            CudaDevices.device(owner.device().index())),
        "asking whether GPUs are connected");
    return can[0] != 0;
  }

  /** Lets a GPU read and write what another one's pool has given and will give. */
  private static void open(CudaContext owner, CudaContext reader) {
    owner.bind();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment access =
          arena.allocateFrom(JAVA_INT, LOCATION_DEVICE, reader.device().index(), READ_WRITE);
      owner.check(
          Driver.setAccess(owner.memoryPool(), access),
          "letting " + reader.device() + " read " + owner.device());
    }
  }
}
