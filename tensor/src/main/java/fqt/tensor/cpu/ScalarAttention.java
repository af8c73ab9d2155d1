package fqt.tensor.cpu;

import fqt.tensor.AttentionMask;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/** Scalar twin of the attention kernels: all scores of one query and head, then their softmax. */
final class ScalarAttention {
  private ScalarAttention() {}

  static void rotary(Tensor x, Tensor cos, Tensor sin, Tensor out) {
    MemorySegment from = x.segment();
    MemorySegment to = out.segment();
    long heads = x.dim(1);
    long size = x.dim(2);
    long half = cos.dim(1);
    for (long m = 0; m < x.dim(0); m++) {
      for (long h = 0; h < heads; h++) {
        long start = (m * heads + h) * size;
        for (long i = 0; i < half; i++) {
          float c = Element.f32(cos.segment(), m * half + i);
          float s = Element.f32(sin.segment(), m * half + i);
          float a = Element.f32(from, start + i);
          float b = Element.f32(from, start + half + i);
          Element.f32(to, start + i, a * c - b * s);
          Element.f32(to, start + half + i, b * c + a * s);
        }
        for (long i = 2 * half; i < size; i++) {
          Element.f32(to, start + i, Element.f32(from, start + i));
        }
      }
    }
  }

  static void attention(Tensor q, Tensor k, Tensor v, float scale, AttentionMask mask, Tensor out) {
    long shared = q.dim(1) / Math.max(1, k.dim(1));
    for (int s = 0; s + 1 < mask.queryBounds().length; s++) {
      long firstKey = mask.keyBounds()[s];
      long keys = mask.keyBounds()[s + 1] - firstKey;
      long firstQuery = mask.queryBounds()[s];
      long queries = mask.queryBounds()[s + 1] - firstQuery;
      for (long m = 0; m < queries; m++) {
        long place = keys - queries + m;
        long to = mask.causal() ? place + 1 : keys;
        long from = mask.window() == 0 ? 0 : Math.max(0, place - mask.window() + 1);
        for (long h = 0; h < q.dim(1); h++) {
          float[] query = ScalarRows.floats(q.select(0, firstQuery + m).select(0, h));
          Tensor headKeys = k.select(1, h / shared);
          Tensor headValues = v.select(1, h / shared);
          float[] mean = attend(query, headKeys, headValues, scale, firstKey + from, firstKey + to);
          long at = ((firstQuery + m) * q.dim(1) + h) * q.dim(2);
          MemorySegment.copy(mean, 0, out.segment(), Element.FLOAT, at * Float.BYTES, mean.length);
        }
      }
    }
  }

  /** The mean of the values {@code from} to {@code to}, weighted by softmax; 0 if there is none. */
  private static float[] attend(
      float[] query, Tensor keys, Tensor values, float scale, long from, long to) {
    float[] mean = new float[query.length];
    if (from >= to) {
      return mean;
    }
    double[] scores = new double[Math.toIntExact(to - from)];
    double largest = Double.NEGATIVE_INFINITY;
    for (int i = 0; i < scores.length; i++) {
      float[] key = ScalarRows.row(keys, from + i);
      for (int d = 0; d < query.length; d++) {
        scores[i] += (double) query[d] * key[d];
      }
      scores[i] *= scale;
      largest = Math.max(largest, scores[i]);
    }
    double sum = 0;
    double[] weighted = new double[query.length];
    for (int i = 0; i < scores.length; i++) {
      double weight = Math.exp(scores[i] - largest);
      sum += weight;
      float[] value = ScalarRows.row(values, from + i);
      for (int d = 0; d < query.length; d++) {
        weighted[d] += weight * value[d];
      }
    }
    for (int d = 0; d < query.length; d++) {
      mean[d] = (float) (weighted[d] / sum);
    }
    return mean;
  }
}
