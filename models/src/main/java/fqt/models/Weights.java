package fqt.models;

import fqt.nn.Module;
import fqt.tensor.Tensor;

/** Where the builders of a model's parts get them from. Names are full paths in the checkpoint. */
interface Weights {
  /** Whether the checkpoint has a tensor. */
  boolean has(String name);

  /** A tensor of a known shape. */
  Tensor tensor(String name, long... shape);

  /** A linear, in floating point or as a quantized checkpoint stores it. */
  Module linear(String prefix, long inputs, long outputs, boolean bias);
}
