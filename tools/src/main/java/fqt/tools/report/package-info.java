/**
 * The page that shows what a quantization did. {@link fqt.tools.report.BlockProbe} looks into each
 * block while it is quantized: what flows into its linears before and after, and the smoothing
 * scales, reduced to a few kilobytes of JSON. {@link fqt.tools.report.ReportPage} puts such data,
 * styles and script into one HTML file that needs no other file and no network.
 */
package fqt.tools.report;
