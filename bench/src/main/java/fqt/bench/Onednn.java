package fqt.bench;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * A matrix product {@code x wᵀ} of oneDNN, its weight packed beforehand as it likes it. The library
 * is {@code libdnnl.so.3} in the folder that the property {@code fqt.bench.dnnl} names; its threads
 * are those of the {@code libgomp.so.1} beside it.
 */
final class Onednn implements AutoCloseable {
  private static final int CPU = 1;
  private static final int IN_ORDER = 1;
  private static final int ANY_LAYOUT = 1;
  private static final int QUERY_WEIGHTS = 131;
  private static final int MOST_DIMS = 12;
  private static final int SOURCE = 1;
  private static final int TARGET = 17;
  private static final int WEIGHTS = 33;
  private static final MemorySegment NOTHING = MemorySegment.NULL;
  private static final MemorySegment ALLOCATE = MemorySegment.ofAddress(-1);

  private final Arena arena = Arena.ofAuto();
  private final SymbolLookup symbols;
  // The library knows addresses only: these keep the memory.
  private final List<Tensor> operands;

  private final MethodHandle execute;
  private final MethodHandle await;
  private final MemorySegment engine;
  private final MemorySegment stream;
  private final MemorySegment product;
  private final MemorySegment weights;
  private final MemorySegment arguments;

  private static boolean isThere() {
    return System.getProperty("fqt.bench.dnnl") != null && Files.exists(file("libdnnl.so.3"));
  }

  private static Path file(String name) {
    return Path.of(System.getProperty("fqt.bench.dnnl"), name);
  }

  /**
   * Prepares a product.
   *
   * @param x F32, BF16 or I8 [M, K]
   * @param w of the same type [N, K]
   * @param out F32 [M, N]; it receives I32 for I8
   */
  Onednn(Tensor x, Tensor w, Tensor out, int threads) {
    setThreads(threads);
    operands = List.of(x, w, out);
    symbols = SymbolLookup.libraryLookup(file("libdnnl.so.3"), Arena.global());
    Linker linker = Linker.nativeLinker();
    execute =
        linker.downcallHandle(
            symbols.findOrThrow("dnnl_primitive_execute"),
            FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, JAVA_INT, ADDRESS));
    await =
        linker.downcallHandle(
            symbols.findOrThrow("dnnl_stream_wait"), FunctionDescriptor.of(JAVA_INT, ADDRESS));
    engine = make("dnnl_engine_create", CPU, 0L);
    stream = make("dnnl_stream_create", engine, IN_ORDER);
    int type = type(x);
    long m = x.dim(0);
    long k = x.dim(1);
    long n = w.dim(0);
    MemorySegment source = strided(type, m, k, k, 1);
    MemorySegment plain = strided(type, k, n, 1, k);
    MemorySegment target = strided(type == 5 ? 4 : 3, m, n, n, 1);
    MemorySegment any = make("dnnl_memory_desc_create_with_tag", 2, dims(k, n), type, ANY_LAYOUT);
    MemorySegment description =
        make("dnnl_matmul_primitive_desc_create", engine, source, any, NOTHING, target, NOTHING);
    MemorySegment packed =
        (MemorySegment)
            invoke(
                "dnnl_primitive_desc_query_md",
                FunctionDescriptor.of(ADDRESS, ADDRESS, JAVA_INT, JAVA_INT),
                description,
                QUERY_WEIGHTS,
                0);
    product = make("dnnl_primitive_create", description);
    weights = make("dnnl_memory_create", packed, engine, ALLOCATE);
    pack(plain, make("dnnl_memory_create", plain, engine, w.segment()), packed, weights);
    arguments =
        arguments(
            SOURCE,
            make("dnnl_memory_create", source, engine, x.segment()),
            WEIGHTS,
            weights,
            TARGET,
            make("dnnl_memory_create", target, engine, out.segment()));
  }

  private void pack(
      MemorySegment from, MemorySegment plain, MemorySegment to, MemorySegment weights) {
    MemorySegment description =
        make("dnnl_reorder_primitive_desc_create", from, engine, to, engine, NOTHING);
    MemorySegment reorder = make("dnnl_primitive_create", description);
    execute(reorder, arguments(SOURCE, plain, TARGET, weights), 2);
  }

  /** Whether oneDNN multiplies this type on this processor: bf16 it does not everywhere. */
  static boolean multiplies(DType type) {
    return isThere() && (type != DType.BF16 || Blas.hasAvx512());
  }

  /** Computes the product; the operands are still there. */
  List<Tensor> run() {
    execute(product, arguments, 3);
    return operands;
  }

  /** Frees the packed weight and the product. */
  @Override
  public void close() {
    call("dnnl_memory_destroy", weights);
    call("dnnl_primitive_destroy", product);
  }

  private void execute(MemorySegment primitive, MemorySegment with, int count) {
    try {
      int started = (int) execute.invokeExact(primitive, stream, count, with);
      int ended = (int) await.invokeExact(stream);
      if (started != 0 || ended != 0) {
        throw new IllegalStateException("oneDNN failed with status " + started + ", " + ended);
      }
    } catch (RuntimeException | Error thrown) {
      throw thrown;
    } catch (Throwable thrown) {
      throw new IllegalStateException("oneDNN failed", thrown);
    }
  }

  private static int type(Tensor x) {
    return switch (x.dtype()) {
      case F32 -> 3;
      case BF16 -> 2;
      case I8 -> 5;
      default -> throw new IllegalArgumentException("no product of " + x + " by oneDNN");
    };
  }

  private MemorySegment strided(int type, long rows, long columns, long rowStride, long step) {
    return make(
        "dnnl_memory_desc_create_with_strides",
        2,
        dims(rows, columns),
        type,
        dims(rowStride, step));
  }

  private MemorySegment dims(long first, long second) {
    MemorySegment dims = arena.allocate(JAVA_LONG, MOST_DIMS);
    dims.setAtIndex(JAVA_LONG, 0, first);
    dims.setAtIndex(JAVA_LONG, 1, second);
    return dims;
  }

  /** Pairs of a number and a memory, as in {@code dnnl_exec_arg_t}. */
  private MemorySegment arguments(Object... pairs) {
    MemorySegment list = arena.allocate(8L * pairs.length, 8);
    for (int i = 0; i < pairs.length; i += 2) {
      list.set(JAVA_INT, 8L * i, (int) pairs[i]);
      list.set(ADDRESS, 8L * i + 8, (MemorySegment) pairs[i + 1]);
    }
    return list;
  }

  /** Calls a function whose first argument receives what it makes. */
  private MemorySegment make(String name, Object... arguments) {
    MemorySegment made = arena.allocate(ADDRESS);
    Object[] all = new Object[arguments.length + 1];
    all[0] = made;
    System.arraycopy(arguments, 0, all, 1, arguments.length);
    call(name, all);
    return made.get(ADDRESS, 0);
  }

  private void call(String name, Object... arguments) {
    MemoryLayout[] types = new MemoryLayout[arguments.length];
    for (int i = 0; i < types.length; i++) {
      types[i] =
          switch (arguments[i]) {
            case Integer _ -> JAVA_INT;
            case Long _ -> JAVA_LONG;
            default -> ADDRESS;
          };
    }
    int status = (int) invoke(name, FunctionDescriptor.of(JAVA_INT, types), arguments);
    if (status != 0) {
      throw new IllegalStateException(name + " of oneDNN failed with status " + status);
    }
  }

  private Object invoke(String name, FunctionDescriptor type, Object... arguments) {
    return invoke(symbols, name, type, arguments);
  }

  private static Object invoke(
      SymbolLookup symbols, String name, FunctionDescriptor type, Object... arguments) {
    try {
      return Linker.nativeLinker()
          .downcallHandle(symbols.findOrThrow(name), type)
          .invokeWithArguments(arguments);
    } catch (Throwable thrown) {
      throw new IllegalStateException(name + " failed", thrown);
    }
  }

  private static void setThreads(int threads) {
    SymbolLookup openMp = SymbolLookup.libraryLookup(file("libgomp.so.1"), Arena.global());
    FunctionDescriptor type = FunctionDescriptor.ofVoid(JAVA_INT);
    invoke(openMp, "omp_set_num_threads", type, threads);
  }
}
