/** Recorder, quantizers, GPTQ and checkpoint formats. */
module fqt.quant {
  requires transitive fqt.tensor;

  exports fqt.quant;
  exports fqt.quant.crew;
  exports fqt.quant.format;
  exports fqt.quant.report;
  exports fqt.quant.rules;

  provides fqt.nn.LinearReader with
      fqt.quant.format.AwqReader,
      fqt.quant.format.CompressedTensorsReader,
      fqt.quant.format.GptqReader,
      fqt.quant.format.SimulatedReader;
}
