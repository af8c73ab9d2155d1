/**
 * Which linear gets what: {@link fqt.quant.rules.LinearRules} decides by the paths of linears, as
 * {@code --ignore} and {@code --rule} of the command line say. Knows nothing of quantization; what
 * is chosen, usually a scheme, is the business of who asks.
 */
package fqt.quant.rules;
