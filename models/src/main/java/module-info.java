/** Checkpoints, tokenizer and transformer families. */
module fqt.models {
  requires transitive fqt.tensor;
  requires java.desktop;

  exports fqt.models;
  exports fqt.models.tokenizer;

  uses fqt.nn.LinearReader;
}
