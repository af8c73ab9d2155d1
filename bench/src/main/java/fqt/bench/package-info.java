/** Benchmarks of the kernels beside their peers. */
package fqt.bench;
