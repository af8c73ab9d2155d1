/**
 * Transformer models as configurations of the blocks in {@code fqt.nn}, and their checkpoints.
 *
 * <p>A {@link fqt.models.CausalLm} is a checkpoint's folder at work: {@link fqt.models.ModelConfig}
 * is what its {@code config.json} says, and the layers are built of the tensors under their Hugging
 * Face names. On the host they are views of the mapped files; on a GPU each layer is copied when it
 * is first asked for, and can be released. Linears that were quantized come from whichever {@link
 * fqt.nn.LinearReader} knows their format.
 *
 * <p>{@link fqt.models.Perplexity} says how well a model predicts a text, {@link
 * fqt.models.GenerationConfig} how it continues one. Pictures go through an {@link
 * fqt.models.ImageProcessor}, which cuts them into {@link fqt.models.Pictures}, and a {@link
 * fqt.models.VisionTower}, which makes tokens of those.
 *
 * {@snippet :
 * try (CausalLm model = CausalLm.load(folder, Device.CPU)) {
 *   Tokenizer tokenizer = Tokenizer.load(folder);
 *   int[] more =
 *       model.generate(tokenizer.encode("Hello"), GenerationConfig.load(folder), token -> {});
 *   System.out.println(tokenizer.decode(more));
 * }
 * }
 */
package fqt.models;
