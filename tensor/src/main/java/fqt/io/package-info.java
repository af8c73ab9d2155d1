/** Files of tensors: safetensors, JSON, and the seam through which checkpoints are read. */
package fqt.io;
