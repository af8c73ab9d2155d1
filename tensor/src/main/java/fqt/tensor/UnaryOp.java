package fqt.tensor;

/** Functions of one number; the activations carry the names of the Hugging Face configurations. */
public enum UnaryOp {
  /** |x|. */
  ABS,
  /** eˣ. */
  EXP,
  /** √x. */
  SQRT,
  /** 1 / (1 + e⁻ˣ). */
  SIGMOID,
  /** x · sigmoid(x). */
  SILU,
  /** x · Φ(x), with the exact normal distribution function. */
  GELU,
  /** GELU with Φ approximated through tanh (Hendrycks and Gimpel 2016). */
  GELU_TANH,
  /** x · sigmoid(1.702 x). */
  QUICK_GELU,
  /** max(x, 0). */
  RELU
}
