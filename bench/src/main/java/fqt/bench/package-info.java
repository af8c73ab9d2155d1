/**
 * JMH benchmarks: our kernels beside the best native libraries, in the same run. {@code
 * bench/README.md} says how to run them and what they found.
 *
 * <p>Numbers are worth little alone. Each benchmark therefore has a floor (what the machine could
 * do at best, measured by {@link fqt.bench.PeakBench}) and, where there is one, a peer.
 */
package fqt.bench;
