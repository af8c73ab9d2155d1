package fqt.tools;

import static java.lang.System.Logger.Level.DEBUG;

import fqt.tensor.Backend;
import fqt.tensor.Backends;
import fqt.tensor.Device;

/** Follows how much memory of a GPU a job needs, stage by stage, in the log. */
final class DeviceMemory {
  private static final System.Logger LOG = System.getLogger("fqt.tools");

  private final Device device;
  private long peak;
  private long reserved;

  /** Counts from now on. */
  DeviceMemory(Device device) {
    this.device = device;
    Backends.of(device).takeMemoryUse();
  }

  /** Notes what was needed since the last stage ended. */
  void ended(String stage) {
    Backend.MemoryUse use = Backends.of(device).takeMemoryUse();
    if (use != null) {
      peak = Math.max(peak, use.peak());
      reserved = use.reserved();
      LOG.log(
          DEBUG,
          () ->
              "memory of %s up to %s: %s in use at once, %s reserved so far"
                  .formatted(device, stage, Units.bytes(use.peak()), Units.bytes(use.reserved())));
    }
  }

  /** One line about all stages, or null where nobody counts. */
  String summary() {
    return reserved == 0
        ? null
        : "memory of %s: at most %s in use at once, %s reserved; of the host %s"
            .formatted(
                device, Units.bytes(peak), Units.bytes(reserved), Units.bytes(PeakMemory.bytes()));
  }
}
