/** JMH benchmarks. */
module fqt.bench {
  requires fqt.models;
  requires fqt.tensor;
  requires jdk.incubator.vector;
  requires jmh.core;
}
