package fqt.bench;

import fqt.cuda.CudaContext;
import fqt.cuda.CudaEvent;
import fqt.cuda.CudaGraph;
import java.util.Arrays;
import java.util.function.IntConsumer;

/** Times launches that follow each other without the host, as one graph. */
final class GraphTime {
  private static final int ROUNDS = 7;

  private GraphTime() {}

  /**
   * Microseconds of one launch, the median of some rounds.
   *
   * @param launch puts launch {@code i} into the context's stream; it has run before
   */
  static double median(CudaContext context, int launches, IntConsumer launch) {
    double[] times = new double[ROUNDS];
    try (CudaEvent start = new CudaEvent(context);
        CudaEvent end = new CudaEvent(context);
        CudaGraph graph =
            CudaGraph.record(
                context.stream(),
                () -> {
                  for (int i = 0; i < launches; i++) {
                    launch.accept(i);
                  }
                })) {
      for (int i = 0; i < ROUNDS; i++) {
        start.record(context.stream());
        graph.launch();
        end.record(context.stream());
        end.synchronize();
        times[i] = end.microsecondsSince(start) / launches;
      }
    }
    Arrays.sort(times);
    return times[ROUNDS / 2];
  }
}
