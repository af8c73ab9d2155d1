package fqt.tools;

import fqt.io.SafetensorsWriter;
import fqt.io.TensorSource;
import fqt.models.CausalLm;
import fqt.quant.format.CheckpointContents;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import java.util.function.Predicate;

/**
 * Puts a checkpoint together from finished blocks and those tensors of the source that none of them
 * holds: embeddings first, then the blocks in order, then the rest.
 */
final class CheckpointAssembly {
  private final CausalLm model;
  private final SafetensorsWriter writer;
  private final Set<String> written = new HashSet<>();

  private CheckpointAssembly(CausalLm model, SafetensorsWriter writer) {
    this.model = model;
    this.writer = writer;
  }

  /** Writes all tensors into a folder. */
  static void write(
      CausalLm model,
      CheckpointContents contents,
      WorkFolder work,
      Path folder,
      long maxShardBytes) {
    try (SafetensorsWriter writer = SafetensorsWriter.create(folder, maxShardBytes)) {
      CheckpointAssembly assembly = new CheckpointAssembly(model, writer);
      for (String linear : contents.quantized().keySet()) {
        assembly.written.add(linear + ".weight");
        assembly.written.add(linear + ".bias");
      }
      assembly.copy(name -> name.contains("embed"));
      for (String block : work.journal().entries().keySet()) {
        assembly.add(work, block);
      }
      assembly.copy(name -> true);
      writer.finish();
    }
  }

  private void add(WorkFolder work, String block) {
    try (TensorSource tensors = work.block(block)) {
      for (String name : tensors.names()) {
        writer.write(name, tensors.get(name));
        written.add(name);
      }
    }
  }

  private void copy(Predicate<String> filter) {
    for (String name : model.tensors().names()) {
      if (filter.test(name) && written.add(name)) {
        Tensor tensor = model.tensors().get(name);
        writer.write(name, tensor);
        QuantizeBlocks.unload(tensor);
      }
    }
  }
}
