/**
 * What a quantization job tells while it runs: a {@link fqt.quant.report.LinearReport} for each
 * linear and a {@link fqt.quant.report.FoldReport} for each smoothed fold, to a {@link
 * fqt.quant.report.QuantListener} on the thread of the job, and to the log {@code fqt.quant}.
 */
package fqt.quant.report;
