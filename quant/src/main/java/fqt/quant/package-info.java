/**
 * Quantization of networks made of {@link fqt.nn.Module}.
 *
 * <p>A {@link fqt.quant.Quantizer} turns a matrix into codes, scales and zero points. {@link
 * fqt.quant.Gptq} and {@link fqt.quant.Rtn} choose the codes of a layer's linears and put quantized
 * ones ({@link fqt.quant.QuantLinear}) in their places; {@link fqt.quant.SmoothQuant}, which is AWQ
 * too, first rescales what a layer lets it. {@link fqt.quant.CalibrationInputs} are the hidden
 * states on which that is judged; {@link fqt.quant.LayerForwardManager} carries them from layer to
 * layer, and {@link fqt.quant.DataRecorder} and {@link fqt.quant.CalibrationDataset} make them from
 * what a model really saw.
 *
 * <pre>{@code
 * var inputs = CalibrationDataset.load(folder).sample(128, seed, device);
 * Gptq.quantize(model.layers(), inputs, GptqConfig.defaults());
 * }</pre>
 *
 * <p>What becomes of each linear is a {@link fqt.quant.Scheme}; which linear gets which is decided
 * by rules in {@code fqt.quant.rules}. Checkpoint formats are in {@code fqt.quant.format}: they
 * know no algorithm, and nothing here knows a format. What a job reports is in {@code
 * fqt.quant.report}; what is known of the flow through a layer, so that calibration takes little
 * memory and time, in {@code fqt.quant.flow}; how several devices work together, in {@code
 * fqt.quant.crew}.
 */
package fqt.quant;
