/** Transformer models as configurations of the blocks in {@code fqt.nn}, and their checkpoints. */
package fqt.models;
