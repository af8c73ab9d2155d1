/** Checkpoints, tokenizer and transformer families. */
module fqt.models {
  requires transitive fqt.tensor;

  exports fqt.models;
  exports fqt.models.tokenizer;

  uses fqt.nn.LinearReader;
}
