/** JMH benchmarks. */
module fqt.bench {
  requires fqt.cuda;
  requires fqt.models;
  requires fqt.quant;
  requires fqt.tensor;
  requires java.management;
  requires jdk.incubator.vector;
  requires jmh.core;
}
