package fqt.tools;

import fqt.models.CausalLm;
import fqt.nn.Module;
import fqt.quant.CalibrationInputs;
import fqt.quant.LayerForwardManager;
import fqt.quant.SmoothQuantConfig;
import fqt.tensor.Device;
import fqt.tensor.Tensor;

/**
 * Memory that a job will need at most, computed before it starts. What different phases of a
 * layer's work need is added up although one follows the other: memory that one has freed waits for
 * its next use.
 *
 * @param device where the job runs
 * @param process the Java VM, its heap and the kernels' buffers; on a GPU, the driver's own memory
 *     and what is kept for reuse
 * @param activations hidden states of all calibration samples; none if they rest in a file, whose
 *     pages the system takes back when it needs them
 * @param replay what finished parts of a layer gave for all calibration samples
 * @param smoothing what the search for scales keeps and tries
 * @param layer the largest layer: its weights in the file's type, in F32 while one is quantized and
 *     packed, its Hessians, and what one sample needs on its way through it
 * @param host of the host where a GPU does the work, otherwise 0
 */
record MemoryBound(
    Device device,
    long process,
    long activations,
    long replay,
    long smoothing,
    long layer,
    long host) {
  private static final long PROCESS = 350L << 20;

  /** What the driver takes on a GPU, and its kernels; what is freed and kept for reuse; gaps. */
  private static final long ON_GPU = (640L << 20) + (256L << 20) + (1536L << 20);

  /** The process beside a GPU: the driver has its part. */
  private static final long BESIDE_GPU = 640L << 20;

  /** The bound of a job, for each of the devices that share it. */
  static MemoryBound of(CausalLm model, QuantizeJob.Plan plan, int devices) {
    try (CausalLm outline = model.outline()) {
      return new Terms(outline, plan, model.device(), devices).bound(model.device());
    }
  }

  /** What the bound is made of. */
  private static final class Terms {
    private final QuantizeJob.Plan plan;
    private final int devices;
    private final long length;
    private final long tokens;
    private final long ends;
    private long activations;
    private long onDisk;
    private long replay;
    private long smoothing;
    private long cpuLayer;
    private long gpuLayer;
    private long hostLayer;

    Terms(CausalLm model, QuantizeJob.Plan plan, Device device, int devices) {
      this.plan = plan;
      this.devices = devices;
      length = plan.samples().isEmpty() ? 0 : plan.samples().getFirst().length;
      tokens = plan.samples().size() * length;
      boolean tied = model.config().text().tied();
      ends = bytes(model.embedding()) + (tied ? 0 : bytes(model.head()));
      long features = model.config().text().hidden();
      long results = 0;
      for (int i = 0; i < model.layers().size(); i++) {
        Module layer = model.layers().get(i);
        LayerBytes bytes = new LayerBytes(layer, plan.method().secondOrder);
        cpuLayer = Math.max(cpuLayer, bytes.onCpu(length));
        gpuLayer = Math.max(gpuLayer, bytes.onGpu(length, devices));
        hostLayer = Math.max(hostLayer, bytes.besideGpu());
        results = Math.max(results, LayerBytes.results(layer));
        SmoothQuantConfig search = plan.method().search(plan.rules());
        if (search != null) {
          String prefix = model.layerPrefix(i);
          long bytesTried = SmoothingBytes.of(prefix, layer, search, features, tokens, length);
          smoothing = Math.max(smoothing, bytesTried);
        }
      }
      activations(model, device, features, results);
    }

    private static long bytes(Module module) {
      return module.parameters().values().stream().mapToLong(Tensor::byteSize).sum();
    }

    private void activations(CausalLm model, Device device, long features, long results) {
      long hidden = tokens * features;
      long each = plan.keeping().rounds(device) ? Short.BYTES : Float.BYTES;
      long all = Math.max(hidden, pictures(model)) * each;
      if (plan.keeping() == CalibrationInputs.Keeping.DISK) {
        onDisk = all;
        return;
      }
      activations = all;
      if (plan.method().secondOrder && plan.gptq().trueSequential()) {
        long most = LayerForwardManager.replayBytes(hidden * Float.BYTES);
        replay = Math.min(results * tokens * Float.BYTES, most);
      }
    }

    /** Elements of the hidden states of all pictures; they are calibrated after the texts. */
    private long pictures(CausalLm model) {
      return plan.pictures().stream()
          .mapToLong(picture -> picture.pixels().dim(0) * model.vision().config().hidden())
          .sum();
    }

    MemoryBound bound(Device device) {
      if (device.isHost()) {
        return new MemoryBound(device, PROCESS, activations, replay, smoothing, cpuLayer, 0);
      }
      // The embedding has gone when the first layer comes.
      long layer = Math.max(gpuLayer, plan.method().calibrates() ? ends : 0);
      // Each device has pages of the file in memory: of embedding and head, then of layers. Those
      // of
      // the file of activations are all in use again and again.
      long pages = Math.max(ends, hostLayer);
      long host = BESIDE_GPU + devices * pages + onDisk;
      return new MemoryBound(device, ON_GPU, activations, replay, smoothing, layer, host);
    }
  }

  /** Of the device. */
  long total() {
    return process + activations + replay + smoothing + layer;
  }

  @Override
  public String toString() {
    return ("memory: at most %s%s (%s activations, %s of results kept, %s for smoothing,"
            + " %s for the largest layer, %s for the %s)")
        .formatted(
            Units.bytes(total()),
            device.isHost() ? "" : " of %s and %s of the host".formatted(device, Units.bytes(host)),
            Units.bytes(activations),
            Units.bytes(replay),
            Units.bytes(smoothing),
            Units.bytes(layer),
            Units.bytes(process),
            device.isHost() ? "process" : "driver and what waits for reuse");
  }
}
