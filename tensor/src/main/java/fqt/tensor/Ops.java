package fqt.tensor;

import static fqt.tensor.Checks.requireCount;
import static fqt.tensor.Checks.requireFloat;
import static fqt.tensor.Checks.requireIndex;
import static fqt.tensor.Checks.requireMatrix;
import static fqt.tensor.Checks.requireNotEmpty;
import static fqt.tensor.Checks.requireShape;
import static fqt.tensor.Checks.requireSquare;
import static fqt.tensor.Checks.requireType;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;

/**
 * What can be done with tensors. Every method checks types, shapes and devices once, allocates its
 * result in the current {@link Scope}, and hands the work to the {@link Backend} of the operands'
 * device. Results are contiguous F32 tensors unless the method says otherwise.
 *
 * <p>A method whose name ends in {@code Into} or {@code InPlace} writes to a tensor that it is
 * given. All methods throw {@link IllegalArgumentException}, naming the operand, its type and its
 * shape, when operands do not fit together.
 */
public final class Ops {
  private Ops() {}

  // --- making tensors

  /**
   * {@return a tensor with undefined elements}
   *
   * @param device where its bytes are allocated
   * @param dtype type of its elements, which settles the bytes of each
   * @param dims its shape, outermost first; none for a scalar
   */
  public static Tensor empty(Device device, DType dtype, long... dims) {
    return empty(device, dtype, Shape.of(dims));
  }

  /**
   * {@return a tensor with undefined elements}
   *
   * @param device where its bytes are allocated
   * @param dtype type of its elements, which settles the bytes of each
   * @param shape its sizes, outermost first; of rank 0 for a scalar
   */
  public static Tensor empty(Device device, DType dtype, Shape shape) {
    Storage storage =
        Backends.of(device).allocate(Math.multiplyExact(shape.count(), (long) dtype.byteSize()));
    Scope.adopt(storage);
    return Tensor.of(storage, dtype, shape);
  }

  /**
   * {@return a tensor of zeros}
   *
   * @param device where its bytes are allocated
   * @param dtype type of its elements, which settles the bytes of each
   * @param dims its shape, outermost first
   */
  public static Tensor zeros(Device device, DType dtype, long... dims) {
    return full(device, dtype, 0, dims);
  }

  /**
   * {@return a tensor whose elements are all one value}
   *
   * @param device where its bytes are allocated
   * @param dtype type of its elements, which settles the bytes of each
   * @param value converted to that type, as by {@link #fill}
   * @param dims its shape, outermost first
   */
  public static Tensor full(Device device, DType dtype, double value, long... dims) {
    Tensor tensor = empty(device, dtype, dims);
    fill(tensor, value);
    return tensor;
  }

  /**
   * {@return an F32 host tensor of the given values}
   *
   * @param values in row-major order
   * @param dims its shape, which has as many elements
   */
  public static Tensor of(float[] values, long... dims) {
    Tensor tensor = empty(Device.CPU, DType.F32, dims);
    requireCount(tensor, values.length);
    MemorySegment.copy(
        values,
        0,
        tensor.segment(),
        ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN),
        0,
        values.length);
    return tensor;
  }

  /**
   * {@return an I32 host tensor of the given values}
   *
   * @param values in row-major order
   * @param dims its shape, which has as many elements
   */
  public static Tensor of(int[] values, long... dims) {
    Tensor tensor = empty(Device.CPU, DType.I32, dims);
    requireCount(tensor, values.length);
    MemorySegment.copy(
        values,
        0,
        tensor.segment(),
        ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN),
        0,
        values.length);
    return tensor;
  }

  /**
   * Promises that a tensor's storage will not be written to any more. Products may then keep what
   * they make of it, such as a weight packed for the matrix kernel, for as long as the storage
   * lives; it takes about as much memory again.
   *
   * @param tensor any view of the storage
   */
  public static void freeze(Tensor tensor) {
    tensor.storage().freeze();
  }

  private static void requireThawed(Tensor out) {
    if (out.storage().derived() != null) {
      throw new IllegalStateException("tensor " + out + " is frozen and cannot be written to");
    }
  }

  /**
   * Sets every element.
   *
   * @param tensor any type and strides
   * @param value rounded half to even and saturated to the tensor's type
   * @throws IllegalStateException if the tensor is frozen
   */
  public static void fill(Tensor tensor, double value) {
    requireThawed(tensor);
    backend(tensor).fill(tensor, value);
  }

  // --- moving and converting

  /**
   * {@return the tensor on a device: itself if it is there already, otherwise a copy}
   *
   * @param x any strides
   * @param device where the result is
   */
  public static Tensor to(Tensor x, Device device) {
    if (x.device().equals(device)) {
      return x;
    }
    Tensor source = contiguous(x);
    Tensor copy = empty(device, x.dtype(), x.shape());
    backend(device.isHost() ? source : copy).transfer(source, copy);
    return copy;
  }

  /**
   * {@return the tensor in a type: itself if it has it already, otherwise a contiguous copy}
   *
   * @param x any strides
   * @param dtype type of the result; floats round half to even, integers saturate
   */
  public static Tensor to(Tensor x, DType dtype) {
    return x.dtype() == dtype ? x : copyAs(x, dtype);
  }

  /**
   * {@return the tensor laid out without gaps: itself if it is already, otherwise a copy}
   *
   * @param x any strides
   */
  public static Tensor contiguous(Tensor x) {
    return x.isContiguous() ? x : copyAs(x, x.dtype());
  }

  /**
   * A contiguous copy in the current scope.
   *
   * @param x any strides
   * @return like {@code x}, in the same type
   */
  public static Tensor copy(Tensor x) {
    return copyAs(x, x.dtype());
  }

  private static Tensor copyAs(Tensor x, DType dtype) {
    Tensor copy = empty(x.device(), dtype, x.shape());
    backend(x).copy(x, copy);
    return copy;
  }

  /**
   * Copies the elements of one tensor over those of another of the same shape, converting; from
   * another device, without gaps and of the same type.
   *
   * @param source any strides
   * @param target any strides, of the same shape; conversions round half to even and saturate
   * @throws IllegalStateException if the target is frozen
   */
  public static void copyInto(Tensor source, Tensor target) {
    requireShape("target", target, source.shape());
    requireThawed(target);
    boolean travels =
        source.dtype() == target.dtype() && source.isContiguous() && target.isContiguous();
    if (source.device().equals(target.device()) || !travels) {
      backend(source, target).copy(source, target);
    } else {
      backend(target.device().isHost() ? source : target).transfer(source, target);
    }
  }

  /**
   * Joins tensors along their first dimension.
   *
   * @param first [rows, ...]
   * @param others of the same shape but for the rows
   * @return [all rows, ...], in the type of {@code first}
   */
  public static Tensor concatRows(Tensor first, Tensor... others) {
    long rows = first.dim(0);
    for (Tensor other : others) {
      requireShape("part", other, first.shape().with(0, other.dim(0)));
      rows += other.dim(0);
    }
    Tensor joined = empty(first.device(), first.dtype(), first.shape().with(0, rows));
    copyInto(first, joined.slice(0, 0, first.dim(0)));
    long at = first.dim(0);
    for (Tensor other : others) {
      copyInto(other, joined.slice(0, at, at + other.dim(0)));
      at += other.dim(0);
    }
    return joined;
  }

  // --- matrices

  /**
   * {@return {@code a b}, [M, N]}
   *
   * @param a [M, K], any float type and strides
   * @param b [K, N], any float type and strides
   */
  public static Tensor matmul(Tensor a, Tensor b) {
    Tensor out = empty(a.device(), DType.F32, a.dim(0), b.dim(-1));
    gemmInto(1, a, b, 0, out);
    return out;
  }

  /**
   * {@code out = alpha · a b + beta · out}.
   *
   * @param alpha factor of the product
   * @param a [M, K], any float type and strides
   * @param b [K, N], any float type and strides
   * @param beta factor of what {@code out} holds; at 0 that is not read
   * @param out F32 [M, N] with unit column stride
   */
  public static void gemmInto(float alpha, Tensor a, Tensor b, float beta, Tensor out) {
    requireMatrix("a", a);
    requireMatrix("b", b);
    requireFloat("a", a);
    requireFloat("b", b);
    requireType("out", out, DType.F32);
    if (a.dim(1) != b.dim(0)) {
      throw new IllegalArgumentException("cannot multiply a " + a + " by b " + b);
    }
    requireShape("out", out, Shape.of(a.dim(0), b.dim(1)));
    if (out.dim(1) > 1 && out.stride(1) != 1) {
      throw new IllegalArgumentException("out " + out + " has column stride " + out.stride(1));
    }
    backend(a, b, out).gemm(alpha, a, b, beta, out);
  }

  /**
   * {@code x wᵀ + bias}: the product of a linear layer.
   *
   * @param x [..., K]
   * @param w [N, K] of any float type
   * @param bias [N] of any float type, or null
   * @return [..., N]
   */
  public static Tensor linear(Tensor x, Tensor w, Tensor bias) {
    requireMatrix("w", w);
    requireFloat("w", w);
    requireFloat("x", x);
    Tensor rows = asRows(x, w.dim(1));
    if (bias != null) {
      requireShape("bias", bias, Shape.of(w.dim(0)));
    }
    Tensor out = empty(x.device(), DType.F32, rows.dim(0), w.dim(0));
    backend(x, w).linear(rows, contiguous(w), bias, out);
    return restore(out, x);
  }

  /**
   * {@return whether the weights' device multiplies rows by them in one go}
   *
   * @param w [N, K] each, of one float type; not empty
   */
  public static boolean groupsLinears(List<Tensor> w) {
    return backend(w.getFirst()).groups(w);
  }

  /**
   * Linears of groups of rows, each with a weight of its own: {@code out[m] = w[e] x[m]} for m from
   * {@code bounds[e]} to before {@code bounds[e + 1]}.
   *
   * @param x [M, K]
   * @param bounds from 0, never decreasing, to M
   * @param w [N, K] each, of one float type
   * @return F32 [M, N]
   */
  public static Tensor groupedLinear(Tensor x, long[] bounds, List<Tensor> w) {
    requireMatrix("x", x);
    requireFloat("x", x);
    if (bounds.length != w.size() + 1 || bounds[0] != 0 || bounds[w.size()] != x.dim(0)) {
      throw new IllegalArgumentException(
          "bounds %s for %d weights and x %s".formatted(Arrays.toString(bounds), w.size(), x));
    }
    for (int e = 0; e < w.size(); e++) {
      requireMatrix("w", w.get(e));
      requireFloat("w", w.get(e));
      requireType("w", w.get(e), w.getFirst().dtype());
      requireShape("w", w.get(e), Shape.of(w.getFirst().dim(0), x.dim(1)));
      if (bounds[e] > bounds[e + 1]) {
        throw new IllegalArgumentException(
            "bounds decrease from %d to %d".formatted(bounds[e], bounds[e + 1]));
      }
    }
    Tensor out = empty(x.device(), DType.F32, x.dim(0), w.getFirst().dim(0));
    List<Tensor> weights = w.stream().map(Ops::contiguous).toList();
    backend(x, w.getFirst()).groupedLinear(contiguous(x), bounds, weights, out);
    return out;
  }

  /**
   * {@code out = beta · out + alpha · xᵀ x}, both triangles.
   *
   * @param alpha factor of the product
   * @param x F32 [T, K]
   * @param beta factor of what {@code out} holds
   * @param out F32 [K, K], symmetric
   */
  public static void syrkInto(float alpha, Tensor x, float beta, Tensor out) {
    requireSyrk(x, out);
    backend(x, out).syrk(alpha, contiguous(x), beta, out);
  }

  /**
   * {@link #syrkInto} below and on the diagonal only: for sums of many, of which {@link
   * #completeSyrk} fills in the rest at the end.
   *
   * @param alpha factor of the product
   * @param x F32 [T, K]
   * @param beta factor of what {@code out} holds
   * @param out F32 [K, K], undefined above the diagonal
   */
  public static void lowerSyrkInto(float alpha, Tensor x, float beta, Tensor out) {
    requireSyrk(x, out);
    backend(x, out).lowerSyrk(alpha, contiguous(x), beta, out);
  }

  /**
   * Makes a matrix that {@link #lowerSyrkInto} has written symmetric.
   *
   * @param out F32 [K, K]; what is below the diagonal is mirrored
   */
  public static void completeSyrk(Tensor out) {
    requireSquare("out", out);
    requireType("out", out, DType.F32);
    backend(out).completeSyrk(out);
  }

  private static void requireSyrk(Tensor x, Tensor out) {
    requireMatrix("x", x);
    requireType("x", x, DType.F32);
    requireType("out", out, DType.F32);
    requireShape("out", out, Shape.of(x.dim(1), x.dim(1)));
  }

  /**
   * Overwrites a symmetric positive definite matrix [K, K] with its lower Cholesky factor.
   *
   * @param a F32 [K, K]; zeros above the diagonal afterwards
   * @return −1, or the index of the first pivot that is not positive; the matrix is then undefined
   */
  public static long choleskyInPlace(Tensor a) {
    requireSquare("a", a);
    return backend(a).cholesky(a);
  }

  /**
   * {@return the inverse of a lower triangular matrix, F32 [K, K]}
   *
   * @param l F32 [K, K], lower triangular
   */
  public static Tensor invertLower(Tensor l) {
    requireSquare("l", l);
    Tensor out = empty(l.device(), DType.F32, l.shape());
    invertLowerInto(l, out);
    return out;
  }

  /**
   * {@link #invertLower} into another matrix.
   *
   * @param l F32 [K, K], lower triangular
   * @param out F32 [K, K], zeros above the diagonal
   */
  public static void invertLowerInto(Tensor l, Tensor out) {
    requireSquare("l", l);
    requireShape("out", out, l.shape());
    backend(l, out).invertLower(l, out);
  }

  // --- element by element

  /**
   * {@return {@code a + b}, shaped like {@code a}}
   *
   * @param a F32 [..., N]
   * @param b like {@code a}, or [N] repeated over its last dimension
   */
  public static Tensor add(Tensor a, Tensor b) {
    return binary(BinaryOp.ADD, a, b);
  }

  /**
   * {@return {@code a − b}, shaped like {@code a}}
   *
   * @param a F32 [..., N]
   * @param b like {@code a}, or [N] repeated over its last dimension
   */
  public static Tensor subtract(Tensor a, Tensor b) {
    return binary(BinaryOp.SUBTRACT, a, b);
  }

  /**
   * {@return {@code a · b}, element by element, shaped like {@code a}}
   *
   * @param a F32 [..., N]
   * @param b like {@code a}, or [N] repeated over its last dimension
   */
  public static Tensor multiply(Tensor a, Tensor b) {
    return binary(BinaryOp.MULTIPLY, a, b);
  }

  /**
   * {@return {@code a / b}, element by element, shaped like {@code a}}
   *
   * @param a F32 [..., N]
   * @param b like {@code a}, or [N] repeated over its last dimension
   */
  public static Tensor divide(Tensor a, Tensor b) {
    return binary(BinaryOp.DIVIDE, a, b);
  }

  /**
   * {@return {@code a op b}, element by element, shaped like {@code a}}
   *
   * @param op what is done with each pair
   * @param a F32 [..., N]
   * @param b like {@code a}, or [N] repeated over its last dimension
   */
  public static Tensor binary(BinaryOp op, Tensor a, Tensor b) {
    Tensor out = empty(a.device(), DType.F32, a.shape());
    binaryInto(op, a, b, out);
    return out;
  }

  /**
   * {@code out = a op b}, element by element.
   *
   * @param op what is done with each pair
   * @param a F32 [..., N]
   * @param b like {@code a}, or [N] repeated over its last dimension
   * @param out F32, shaped like {@code a}; may be {@code a} itself
   */
  public static void binaryInto(BinaryOp op, Tensor a, Tensor b, Tensor out) {
    requireType("a", a, DType.F32);
    requireType("b", b, DType.F32);
    requireShape("out", out, a.shape());
    if (!b.shape().equals(a.shape()) && !(b.rank() == 1 && b.dim(0) == a.dim(-1))) {
      throw new IllegalArgumentException(
          "b " + b + " fits neither the shape nor the last dimension of a " + a);
    }
    backend(a, b, out).binary(op, contiguous(a), contiguous(b), out);
  }

  /**
   * {@return {@code op(x)}, element by element, shaped like {@code x}}
   *
   * @param op what becomes of each element
   * @param x F32, any shape
   */
  public static Tensor unary(UnaryOp op, Tensor x) {
    requireType("x", x, DType.F32);
    Tensor out = empty(x.device(), DType.F32, x.shape());
    backend(x).unary(op, contiguous(x), out);
    return out;
  }

  /**
   * {@return {@code scale · x + shift}, shaped like {@code x}}
   *
   * @param x F32, any shape
   * @param scale factor of each element
   * @param shift added after it
   */
  public static Tensor affine(Tensor x, float scale, float shift) {
    requireType("x", x, DType.F32);
    Tensor out = empty(x.device(), DType.F32, x.shape());
    backend(x).affine(contiguous(x), scale, shift, out);
    return out;
  }

  /**
   * {@return {@code op(gate) · up}, the activation of gated feed-forward blocks}
   *
   * @param op the activation, such as {@link UnaryOp#SILU}
   * @param gate F32, any shape
   * @param up F32, shaped like {@code gate}
   */
  public static Tensor gated(UnaryOp op, Tensor gate, Tensor up) {
    requireType("gate", gate, DType.F32);
    requireType("up", up, DType.F32);
    requireShape("up", up, gate.shape());
    Tensor out = empty(gate.device(), DType.F32, gate.shape());
    backend(gate, up).gated(op, contiguous(gate), contiguous(up), out);
    return out;
  }

  // --- rows

  /**
   * {@return the root-mean-square norm over the last dimension (Zhang and Sennrich 2019)}
   *
   * @param x F32 [..., K]
   * @param weight [K], any float type
   * @param eps added to the mean square
   */
  public static Tensor rmsNorm(Tensor x, Tensor weight, float eps) {
    requireType("x", x, DType.F32);
    Tensor rows = asRows(x, weight.dim(0));
    Tensor out = empty(x.device(), DType.F32, rows.shape());
    backend(x, weight).rmsNorm(rows, weight, eps, out);
    return out.reshape(x.shape().toArray());
  }

  /**
   * {@return the layer norm over the last dimension (Ba et al. 2016)}
   *
   * @param x F32 [..., K]
   * @param weight [K], any float type
   * @param bias [K], any float type
   * @param eps added to the variance
   */
  public static Tensor layerNorm(Tensor x, Tensor weight, Tensor bias, float eps) {
    requireType("x", x, DType.F32);
    requireShape("bias", bias, weight.shape());
    Tensor rows = asRows(x, weight.dim(0));
    Tensor out = empty(x.device(), DType.F32, rows.shape());
    backend(x, weight).layerNorm(rows, weight, bias, eps, out);
    return out.reshape(x.shape().toArray());
  }

  /**
   * {@return the softmax over the last dimension}
   *
   * @param x F32 [..., K]
   */
  public static Tensor softmax(Tensor x) {
    requireType("x", x, DType.F32);
    Tensor rows = asRows(x, x.dim(-1));
    Tensor out = empty(x.device(), DType.F32, rows.shape());
    backend(x).softmax(rows, out);
    return out.reshape(x.shape().toArray());
  }

  /**
   * {@return one number for each row, [M], or each column, [K]} Sums accumulate in F64.
   *
   * @param op what is made of the elements of a row or column
   * @param axis what is left: one number a row, or one a column
   * @param x F32 [M, K], not empty
   */
  public static Tensor reduce(ReduceOp op, Axis axis, Tensor x) {
    requireMatrix("x", x);
    requireType("x", x, DType.F32);
    requireNotEmpty("x", x);
    Tensor out = empty(x.device(), DType.F32, x.dim(axis == Axis.ROWS ? 0 : 1));
    backend(x).reduce(op, axis, contiguous(x), out);
    return out;
  }

  /**
   * The largest elements of each row.
   *
   * @param values largest first, F32 [M, k]
   * @param indices their places, ties by index, I32 [M, k]
   */
  public record TopK(Tensor values, Tensor indices) {}

  /**
   * {@return the largest elements of each row}
   *
   * @param x F32 [M, K]
   * @param k how many, from 1 to K
   */
  public static TopK topK(Tensor x, long k) {
    requireMatrix("x", x);
    requireType("x", x, DType.F32);
    if (k < 1 || k > x.dim(1)) {
      throw new IllegalArgumentException("the " + k + " largest of rows of " + x);
    }
    Tensor values = empty(x.device(), DType.F32, x.dim(0), k);
    Tensor indices = empty(x.device(), DType.I32, x.dim(0), k);
    backend(x).topK(contiguous(x), k, values, indices);
    return new TopK(values, indices);
  }

  /**
   * {@return the negative log-likelihood of each target, [M], in nats}
   *
   * @param logits F32 [M, V]
   * @param target I32 [M], from 0 to V − 1
   */
  public static Tensor crossEntropy(Tensor logits, Tensor target) {
    requireMatrix("logits", logits);
    requireType("logits", logits, DType.F32);
    requireType("target", target, DType.I32);
    requireShape("target", target, Shape.of(logits.dim(0)));
    Tensor out = empty(logits.device(), DType.F32, logits.dim(0));
    backend(logits, target).crossEntropy(contiguous(logits), contiguous(target), out);
    return out;
  }

  /**
   * {@return rows of a table, F32 [M, K]}
   *
   * @param table [V, K], any float type
   * @param index I32 [M], from 0 to V − 1
   * @throws IndexOutOfBoundsException if an index is outside the table
   */
  public static Tensor gatherRows(Tensor table, Tensor index) {
    requireMatrix("table", table);
    requireFloat("table", table);
    requireIndex(index);
    Tensor out = empty(table.device(), DType.F32, index.dim(0), table.dim(1));
    backend(table, index).gatherRows(contiguous(table), contiguous(index), out);
    return out;
  }

  /**
   * {@code out[index[i]] += weight[i] · rows[i]}, in the order of i.
   *
   * @param rows F32 [M, K]
   * @param index I32 [M], rows of {@code out}
   * @param weight F32 [M], or null for 1
   * @param out F32 [V, K]
   */
  public static void scatterAddRows(Tensor rows, Tensor index, Tensor weight, Tensor out) {
    requireMatrix("rows", rows);
    requireIndex(index);
    requireShape("index", index, Shape.of(rows.dim(0)));
    requireShape("out", out, rows.shape().with(0, out.dim(0)));
    if (weight != null) {
      requireShape("weight", weight, index.shape());
    }
    backend(rows, index, out).scatterAddRows(contiguous(rows), contiguous(index), weight, out);
  }

  // --- attention

  /**
   * Rotary position embedding by halves (Su et al. 2021, in the layout of Hugging Face models).
   *
   * @param x [M, H, D]
   * @param cos F32 [M, R / 2], R ≤ D; elements from R on pass unchanged
   * @param sin like cos
   * @return [M, H, D]
   */
  public static Tensor rotary(Tensor x, Tensor cos, Tensor sin) {
    requireType("x", x, DType.F32);
    requireShape("sin", sin, cos.shape());
    if (x.rank() != 3 || cos.rank() != 2 || cos.dim(0) != x.dim(0) || cos.dim(1) * 2 > x.dim(2)) {
      throw new IllegalArgumentException("rotary tables " + cos + " do not fit x " + x);
    }
    Tensor out = empty(x.device(), DType.F32, x.shape());
    backend(x, cos, sin).rotary(contiguous(x), contiguous(cos), contiguous(sin), out);
    return out;
  }

  /**
   * Scaled dot-product attention with grouped heads (Vaswani et al. 2017; Ainslie et al. 2023).
   *
   * @param q [M, H, D]
   * @param k [S, G, D], H a multiple of G
   * @param v like k
   * @param scale factor of the scores, usually 1 / √D
   * @param mask which keys a query sees, over M queries and S keys
   * @return [M, H, D]
   */
  public static Tensor attention(Tensor q, Tensor k, Tensor v, float scale, AttentionMask mask) {
    requireType("q", q, DType.F32);
    requireType("k", k, DType.F32);
    requireType("v", v, DType.F32);
    requireShape("v", v, k.shape());
    if (q.rank() != 3 || k.rank() != 3 || q.dim(2) != k.dim(2) || q.dim(1) % k.dim(1) != 0) {
      throw new IllegalArgumentException("queries " + q + " do not fit keys " + k);
    }
    if (mask.queries() != q.dim(0) || mask.keys() != k.dim(0)) {
      throw new IllegalArgumentException(
          "a mask of %d queries and %d keys does not fit queries %s and keys %s"
              .formatted(mask.queries(), mask.keys(), q, k));
    }
    Tensor out = empty(q.device(), DType.F32, q.shape());
    backend(q, k, v).attention(q, k, v, scale, mask, out);
    return out;
  }

  // --- common to many

  static Backend backend(Tensor first, Tensor... others) {
    for (Tensor other : others) {
      if (!other.device().equals(first.device())) {
        throw new IllegalArgumentException(
            "operands on different devices: "
                + first.device()
                + " and "
                + other.device()
                + "; move one with Ops.to");
      }
    }
    return Backends.of(first.device());
  }

  static Tensor asRows(Tensor x, long columns) {
    if (x.rank() == 0 || x.dim(-1) != columns) {
      throw new IllegalArgumentException(
          "x " + x + " should have " + columns + " elements in its last dimension");
    }
    Tensor flat = contiguous(x);
    return x.rank() == 2 ? flat : flat.reshape(columns == 0 ? 0 : x.count() / columns, columns);
  }

  static Tensor restore(Tensor rows, Tensor x) {
    return x.rank() == 2 ? rows : rows.reshape(x.shape().with(-1, rows.dim(1)).toArray());
  }
}
