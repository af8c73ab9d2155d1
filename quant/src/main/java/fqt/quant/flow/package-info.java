/**
 * What flows through a layer while calibration samples run: found by watching, without a table for
 * any architecture. Knows nothing of quantization.
 *
 * <p>{@link fqt.quant.flow.Stages} watches one sample and says which linears run in which order and
 * which are fed the same tensor. {@link fqt.quant.flow.SharedInputs} adds up something over all
 * samples for each distinct input, such as {@link fqt.quant.flow.Moments}, and {@link
 * fqt.quant.flow.JointWork} divides the work on linears among devices that share the samples.
 * {@link fqt.quant.flow.Replay} keeps what finished parts of a layer gave, so that later passes
 * need not run them again. {@link fqt.quant.flow.BlockRuns} keeps what went into and came out of a
 * part, and measures how far it has moved from that. {@link fqt.quant.flow.Fold} watches what a
 * {@link fqt.nn.ScaleFold} could rescale. {@link fqt.quant.flow.RecordedFile} reads what flowed
 * through a model elsewhere. {@link fqt.quant.flow.ActivationStore} is where tensors of all samples
 * rest: in memory, exactly or rounded, or in a mapped file.
 *
 * <p>All of this is machinery of memory and time. The algorithms that use it are in {@code
 * fqt.quant} and can be read without it.
 */
package fqt.quant.flow;
