/**
 * Building blocks of transformer networks. A {@link fqt.nn.Module} takes one tensor and gives one
 * back; what else it needs travels in {@link fqt.nn.LayerArgs}. Activations of several sequences
 * are packed into one matrix [tokens, features]; the mask in the arguments says where each begins.
 *
 * <p>A {@link fqt.nn.DecoderLayer} is two norms around {@link fqt.nn.Attention} and a {@link
 * fqt.nn.GatedMlp} or {@link fqt.nn.SparseMoe}, whose {@link fqt.nn.Linear}s do nearly all of the
 * work. Three things let others work on any block without knowing it: hooks see what goes in and
 * comes out, children stand in places where another module can be put, and a {@link
 * fqt.nn.ScaleFold} says what may be rescaled without changing the output.
 *
 * {@snippet :
 * try (Module.Registration hook = layer.before((module, input, args) -> inputs.add(input))) {
 *   Tensor output = layer.apply(hidden, args);
 * }
 * Linear.replaceLinears(layer, Rounded::new, (path, linear) -> path.endsWith("down_proj"));
 * }
 */
package fqt.nn;
