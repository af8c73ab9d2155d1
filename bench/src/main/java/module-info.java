/** JMH benchmarks. */
module fqt.bench {
  requires fqt.tensor;
}
