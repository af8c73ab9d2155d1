/** Checkpoints, tokenizer and transformer families. */
module fqt.models {
  requires transitive fqt.tensor;

  exports fqt.models;

  uses fqt.nn.LinearReader;
}
