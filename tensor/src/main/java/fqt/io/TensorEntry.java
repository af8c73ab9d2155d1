package fqt.io;

import fqt.tensor.DType;
import fqt.tensor.Shape;
import java.nio.file.Path;

/**
 * What a file says of one tensor, without reading it.
 *
 * @param name the tensor's name
 * @param format the type of its elements as the file spells it, which may be one that {@link DType}
 *     lacks, such as F64
 * @param shape sizes of its dimensions
 * @param begin position of its first byte in the file
 * @param byteSize bytes that it takes
 * @param file where it is
 */
public record TensorEntry(
    String name, String format, Shape shape, long begin, long byteSize, Path file) {}
