/**
 * Building blocks of transformer networks. A {@link fqt.nn.Module} takes one tensor and gives one
 * back; what else it needs travels in {@link fqt.nn.LayerArgs}. Activations of several sequences
 * are packed into one matrix [tokens, features]; the mask in the arguments says where each begins.
 */
package fqt.nn;
