package fqt.tensor.cpu;

import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Float8;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/** Scalar twin of the quantization kernels; codes agree with theirs exactly. */
final class ScalarQuantize {
  private ScalarQuantize() {}

  static void blockRange(Tensor x, Blocks blocks, Tensor min, Tensor max) {
    ScalarCopy.fill(min, Double.POSITIVE_INFINITY);
    ScalarCopy.fill(max, Double.NEGATIVE_INFINITY);
    MemorySegment from = x.segment();
    for (long m = 0; m < x.dim(0); m++) {
      for (long k = 0; k < x.dim(1); k++) {
        long at = block(x, blocks, m, k);
        float value = Element.f32(from, m * x.dim(1) + k);
        Element.f32(min.segment(), at, Math.min(Element.f32(min.segment(), at), value));
        Element.f32(max.segment(), at, Math.max(Element.f32(max.segment(), at), value));
      }
    }
  }

  static void quantize(
      Tensor x, Blocks blocks, Tensor scale, Tensor zero, float low, float high, Tensor codes) {
    MemorySegment from = x.segment();
    MemorySegment to = codes.segment();
    for (long m = 0; m < x.dim(0); m++) {
      for (long k = 0; k < x.dim(1); k++) {
        long i = m * x.dim(1) + k;
        long at = block(x, blocks, m, k);
        float s = at(scale, at);
        float z = zero == null ? 0 : at(zero, at);
        float value = Element.f32(from, i);
        Element.setFloat(to, codes.dtype(), i, code(codes.dtype(), value, s, z, low, high));
      }
    }
  }

  static void quantizeRows(Tensor x, Tensor codes, Tensor scale) {
    float high = largestCode(codes.dtype());
    float low = codes.dtype() == DType.I8 ? Byte.MIN_VALUE : -high;
    for (long m = 0; m < x.dim(0); m++) {
      float largest = 0;
      for (long k = 0; k < x.dim(1); k++) {
        largest = Math.max(largest, Math.abs(at(x, m * x.dim(1) + k)));
      }
      Element.f32(scale.segment(), m, scaleOf(largest, high));
    }
    quantize(x, Blocks.PER_ROW, scale, null, low, high, codes);
  }

  /** The scale by which a row's largest magnitude becomes that code; one NaN is like another. */
  static float scaleOf(float largest, float code) {
    return Float.isNaN(largest) ? Float.NaN : Math.max(largest / code, Float.MIN_NORMAL);
  }

  /** The code of a row's largest magnitude. */
  static float largestCode(DType codes) {
    return codes == DType.I8 ? Byte.MAX_VALUE : Float8.E4M3_MAX;
  }

  static void dequantize(Tensor codes, Blocks blocks, Tensor scale, Tensor zero, Tensor out) {
    MemorySegment from = codes.segment();
    MemorySegment to = out.segment();
    for (long m = 0; m < codes.dim(0); m++) {
      for (long k = 0; k < codes.dim(1); k++) {
        long i = m * codes.dim(1) + k;
        long at = block(codes, blocks, m, k);
        float z = zero == null ? 0 : at(zero, at);
        float code = Element.getFloat(from, codes.dtype(), i);
        Element.setFloat(to, out.dtype(), i, at(scale, at) * (code - z));
      }
    }
  }

  static void fakeQuantize(
      Tensor x,
      Blocks blocks,
      Tensor scale,
      Tensor zero,
      float low,
      float high,
      DType codes,
      Tensor out) {
    MemorySegment from = x.segment();
    MemorySegment to = out.segment();
    for (long m = 0; m < x.dim(0); m++) {
      for (long k = 0; k < x.dim(1); k++) {
        long i = m * x.dim(1) + k;
        long at = block(x, blocks, m, k);
        float s = at(scale, at);
        float z = zero == null ? 0 : at(zero, at);
        float code = code(codes, Element.f32(from, i), s, z, low, high);
        Element.f32(to, i, s * (code - z));
      }
    }
  }

  static void quantizationError(
      Tensor x,
      Blocks blocks,
      Tensor scale,
      Tensor zero,
      float low,
      float high,
      DType codes,
      Tensor out) {
    long rows = blocks.rowsOf(x.dim(0));
    long columns = blocks.columnsOf(x.dim(1));
    for (long i = 0; i < out.count(); i++) {
      long firstRow = i / out.dim(1) * rows;
      long firstColumn = i % out.dim(1) * columns;
      float s = at(scale, i);
      float z = zero == null ? 0 : at(zero, i);
      double sum = 0;
      for (long m = firstRow; m < Math.min(firstRow + rows, x.dim(0)); m++) {
        for (long k = firstColumn; k < Math.min(firstColumn + columns, x.dim(1)); k++) {
          float value = at(x, m * x.dim(1) + k);
          double error = s * (code(codes, value, s, z, low, high) - z) - value;
          sum += error * error;
        }
      }
      Element.f32(out.segment(), i, (float) sum);
    }
  }

  /** The code of a value as a float: a whole number for integer codes, the rounded F8 otherwise. */
  private static float code(
      DType codes, float value, float scale, float zero, float low, float high) {
    return switch (codes) {
      case F8_E4M3 -> Float8.e4m3ToFloat(Float8.floatToE4m3(Math.clamp(value / scale, low, high)));
      case F8_E5M2 -> Float8.e5m2ToFloat(Float8.floatToE5m2(Math.clamp(value / scale, low, high)));
      case I64, I32, I16, I8, U8, BOOL, F32, F16, BF16 -> code(value, scale, zero, low, high);
    };
  }

  /** {@code clamp(rint(value / scale) + zero, low, high)}; NaN counts as 0. */
  static float code(float value, float scale, float zero, float low, float high) {
    float ratio = value / scale;
    float whole = Float.isNaN(ratio) ? 0 : (float) Math.rint(ratio);
    return Math.clamp(whole + zero, low, high);
  }

  static void pack(Tensor codes, int bits, Tensor words) {
    ScalarCopy.fill(words, 0);
    long columns = codes.dim(1);
    for (long n = 0; n < codes.dim(0); n++) {
      MemorySegment to = words.select(0, n).segment();
      for (long k = 0; k < columns; k++) {
        int code = codes.segment().get(Element.BYTE, n * columns + k) & (1 << bits) - 1;
        long bit = k * bits;
        orWord(to, bit / 32, code << bit % 32);
        if (bit % 32 + bits > 32) {
          orWord(to, bit / 32 + 1, code >>> 32 - bit % 32);
        }
      }
    }
  }

  private static void orWord(MemorySegment words, long index, int bits) {
    words.set(Element.INT, index * Integer.BYTES, Element.i32(words, index) | bits);
  }

  static void unpack(Tensor words, int bits, Tensor codes) {
    for (long n = 0; n < codes.dim(0); n++) {
      MemorySegment from = words.select(0, n).segment();
      for (long k = 0; k < codes.dim(1); k++) {
        byte code = (byte) code(from, k, bits);
        codes.segment().set(Element.BYTE, n * codes.dim(1) + k, code);
      }
    }
  }

  /** Code {@code k} of a row's stream of bits. */
  static int code(MemorySegment words, long k, int bits) {
    long bit = k * bits;
    long window = Integer.toUnsignedLong(Element.i32(words, bit / 32));
    if (bit % 32 + bits > 32) {
      window |= (long) Element.i32(words, bit / 32 + 1) << 32;
    }
    return (int) (window >>> bit % 32) & (1 << bits) - 1;
  }

  private static long block(Tensor x, Blocks blocks, long m, long k) {
    long columns = blocks.columnsOf(x.dim(1));
    return m / blocks.rowsOf(x.dim(0)) * Math.ceilDiv(x.dim(1), columns) + k / columns;
  }

  private static float at(Tensor x, long index) {
    return Element.f32(x.segment(), index);
  }
}
