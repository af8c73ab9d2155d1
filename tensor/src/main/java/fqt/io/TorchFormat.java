package fqt.io;

import fqt.tensor.DType;
import java.util.HashMap;
import java.util.Map;

/**
 * An element type as PyTorch names it.
 *
 * @param name the name of the dtype, such as {@code bfloat16}
 * @param byteSize bytes of an element
 * @param dtype our type, or null where we have none
 * @param storage the class of storages of that type, or null if there is none
 */
record TorchFormat(String name, int byteSize, DType dtype, String storage) {
  /** Bytes of no type: storages of types that came after typed storages were given up. */
  static final TorchFormat UNTYPED = new TorchFormat("uint8", 1, DType.U8, null);

  private static final TorchFormat[] ALL = {
    new TorchFormat("float32", 4, DType.F32, "FloatStorage"),
    new TorchFormat("float16", 2, DType.F16, "HalfStorage"),
    new TorchFormat("bfloat16", 2, DType.BF16, "BFloat16Storage"),
    new TorchFormat("float8_e4m3fn", 1, DType.F8_E4M3, null),
    new TorchFormat("float8_e5m2", 1, DType.F8_E5M2, null),
    new TorchFormat("int64", 8, DType.I64, "LongStorage"),
    new TorchFormat("int32", 4, DType.I32, "IntStorage"),
    new TorchFormat("int16", 2, DType.I16, "ShortStorage"),
    new TorchFormat("int8", 1, DType.I8, "CharStorage"),
    new TorchFormat("uint8", 1, DType.U8, "ByteStorage"),
    new TorchFormat("bool", 1, DType.BOOL, "BoolStorage"),
    new TorchFormat("float64", 8, null, "DoubleStorage"),
    new TorchFormat("complex64", 8, null, "ComplexFloatStorage"),
    new TorchFormat("complex128", 16, null, "ComplexDoubleStorage"),
    new TorchFormat("uint16", 2, null, null),
    new TorchFormat("uint32", 4, null, null),
    new TorchFormat("uint64", 8, null, null),
  };

  private static final Map<String, TorchFormat> BY_GLOBAL = new HashMap<>();

  static {
    for (TorchFormat format : ALL) {
      BY_GLOBAL.put("torch." + format.name, format);
      if (format.storage != null) {
        BY_GLOBAL.put("torch." + format.storage, format);
      }
    }
    BY_GLOBAL.put("torch.UntypedStorage", UNTYPED);
    BY_GLOBAL.put("torch.storage.UntypedStorage", UNTYPED);
    BY_GLOBAL.put("torch.storage._UntypedStorage", UNTYPED);
  }

  /** The type that a global of a pickle names, as a dtype or as a class of storages, or null. */
  static TorchFormat of(String global) {
    return BY_GLOBAL.get(global);
  }

  static TorchFormat of(DType dtype) {
    for (TorchFormat format : ALL) {
      if (format.dtype == dtype) {
        return format;
      }
    }
    throw new IllegalArgumentException("PyTorch has no type " + dtype);
  }
}
