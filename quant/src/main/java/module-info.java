/** Recorder, quantizers, GPTQ and checkpoint formats. */
module fqt.quant {
  requires transitive fqt.tensor;

  exports fqt.quant;
}
