/**
 * Checkpoint formats: each turns the integers, scales and zero points of quantized linears into
 * named tensors, writes the {@code quantization_config} that servers look for, and reads both back.
 * Formats know no algorithm; scales arrive already rounded to the type that is stored, and nothing
 * here quantizes anew.
 */
package fqt.quant.format;
