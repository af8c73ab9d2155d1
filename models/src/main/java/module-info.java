/** Checkpoints, tokenizer and transformer families. */
module fqt.models {
  requires transitive fqt.tensor;

  uses fqt.nn.LinearReader;
}
