package fqt.tensor;

import static java.lang.System.Logger.Level.DEBUG;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.concurrent.ConcurrentHashMap;

/** The backends of this process, one a device, opened when first asked for. */
public final class Backends {
  private static final System.Logger LOG = System.getLogger("fqt.tensor");
  private static final Map<Device, Backend> OPEN = new ConcurrentHashMap<>();

  private Backends() {}

  /**
   * {@return the backend that serves a device}
   *
   * @param device such as {@link Device#CPU}
   * @throws IllegalArgumentException if no backend for that kind of device is on the module path
   * @throws IllegalStateException if the device cannot be used, saying why
   */
  public static Backend of(Device device) {
    Backend open = OPEN.get(device);
    return open != null ? open : OPEN.computeIfAbsent(device, Backends::find);
  }

  private static Backend find(Device device) {
    List<String> kinds = new ArrayList<>();
    for (Backend.Provider provider :
        ServiceLoader.load(Backend.Provider.class, Backends.class.getClassLoader())) {
      if (provider.kind().equals(device.kind())) {
        Backend backend = provider.open(device.index());
        LOG.log(DEBUG, () -> device + ": " + String.join("; ", backend.describe()));
        return backend;
      }
      kinds.add(provider.kind());
    }
    throw new IllegalArgumentException(
        "no backend for device " + device + "; this process has " + kinds);
  }
}
