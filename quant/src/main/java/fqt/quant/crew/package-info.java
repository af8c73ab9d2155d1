/**
 * Several devices at one job: a {@link fqt.quant.crew.Crew} runs the same code as one thread a
 * device, each over its share of the calibration samples, and lets the threads exchange what they
 * found. Knows nothing of quantization; what is exchanged is the business of who exchanges it.
 */
package fqt.quant.crew;
