/**
 * Files of tensors and of settings.
 *
 * <p>{@link fqt.io.Safetensors} maps a checkpoint, single or sharded, and hands out views of it;
 * {@link fqt.io.SafetensorsWriter} writes one, a tensor at a time. {@link fqt.io.TensorSource} is
 * the seam through which checkpoints are read, whatever their format. {@link fqt.io.Json} and
 * {@link fqt.io.JsonObject} read settings. {@link fqt.io.AtomicFile} and {@link
 * fqt.io.AtomicFolder} let output appear whole or not at all. {@link fqt.io.Io} loads and dumps
 * plain values by the ending of a file's name, PyTorch's files and pickles among them; pickles are
 * data here, and only the constructors of tensors are honoured.
 *
 * <p>A malformed file raises {@link fqt.io.FileFormatException}, a file that cannot be read or
 * written {@link java.io.UncheckedIOException}; either message is one sentence that names the file.
 *
 * {@snippet :
 * try (Safetensors model = Safetensors.open(checkpoint);
 *     AtomicFolder folder = AtomicFolder.create(destination, false);
 *     SafetensorsWriter out = SafetensorsWriter.create(folder.path(), 5_000_000_000L)) {
 *   for (String name : model.names()) {
 *     out.write(name, model.get(name));
 *   }
 *   out.finish();
 *   folder.commit();
 * }
 * }
 */
package fqt.io;
