/** Quantization of any network built of {@code fqt.nn} modules. */
package fqt.quant;
