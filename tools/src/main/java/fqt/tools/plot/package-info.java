/**
 * Pictures of tensors, drawn with Java2D without a screen. {@link fqt.tools.plot.Plots} is the
 * entry: surface, histogram, channels, losses. Each plot reduces its tensor first (a {@link
 * fqt.tools.plot.Grid}, bins, a value a channel), in one pass and in pieces, so that a tensor of
 * any size needs no more memory than the picture, and always by the largest magnitude, so that a
 * single outlier among millions stays visible. Then it draws on a {@code Sheet}, which knows fonts,
 * colours and margins, along {@code Axis}es, which know ticks.
 */
package fqt.tools.plot;
