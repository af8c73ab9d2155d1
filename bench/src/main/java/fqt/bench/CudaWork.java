package fqt.bench;

import fqt.cuda.CudaContext;
import fqt.cuda.CudaEvent;
import fqt.cuda.CudaGraph;
import fqt.cuda.CudaMatmul;
import fqt.cuda.MatmulOptions;
import fqt.tensor.DType;
import fqt.tensor.Tensor;
import java.util.List;

/**
 * One of our matrix products, ready to be timed: random activations, weights in rotation, and a
 * graph of about four milliseconds.
 */
final class CudaWork implements AutoCloseable {
  private static final double GRAPH_MICROSECONDS = 4000;
  private static final int CALLS = 100;

  private final CudaContext context;
  private final CudaMatmul matmul;
  private final MatmulOptions options;
  private final CudaOperands own;
  private final List<Tensor> weights;
  private final Tensor activations;
  private final Tensor scaleA;
  private final Tensor scaleB;
  private final Tensor out;
  private final CudaEvent start;
  private final CudaEvent end;
  private final CudaGraph graph;
  private final int count;

  CudaWork(CudaContext context, DType operand, MatmulOptions options, CudaOperands layer, int m) {
    this.context = context;
    this.options = options;
    matmul = new CudaMatmul(context);
    boolean scaled = operand != DType.BF16;
    weights = layer.weights(operand);
    own = new CudaOperands(context, layer.n(), layer.k());
    activations = own.random(operand, m, layer.k(), 1);
    scaleA = scaled ? own.random(DType.F32, 1, m, 3) : null;
    scaleB = scaled ? own.random(DType.F32, 1, layer.n(), 4) : null;
    out = own.empty(DType.BF16, m, layer.n());
    start = new CudaEvent(context);
    end = new CudaEvent(context);
    multiply(0);
    multiply(1);
    context.stream().synchronize();
    start.record(context.stream());
    multiply(0);
    multiply(1);
    end.record(context.stream());
    end.synchronize();
    double one = Math.max(3, end.microsecondsSince(start) / 2);
    count = (int) Math.clamp(GRAPH_MICROSECONDS / one, weights.size(), 200);
    graph =
        CudaGraph.record(
            context.stream(),
            () -> {
              for (int i = 0; i < count; i++) {
                multiply(i);
              }
            });
  }

  private void multiply(int i) {
    matmul.scaled(
        context.stream(),
        activations,
        weights.get(i % weights.size()),
        scaleA,
        scaleB,
        null,
        out,
        options);
  }

  /** Microseconds of GPU time for one product, from one replay of the graph. */
  double time() {
    start.record(context.stream());
    graph.launch();
    end.record(context.stream());
    end.synchronize();
    return end.microsecondsSince(start) / count;
  }

  /** Microseconds of host time for one call. */
  double call() {
    context.stream().synchronize();
    long begin = System.nanoTime();
    for (int i = 0; i < CALLS; i++) {
      multiply(i);
    }
    double time = (System.nanoTime() - begin) / 1e3 / CALLS;
    context.stream().synchronize();
    return time;
  }

  @Override
  public void close() {
    graph.close();
    start.close();
    end.close();
    own.close();
  }
}
