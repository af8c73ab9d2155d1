/** The command line. */
module fqt.tools {
  requires fqt.models;
  requires fqt.quant;
  requires fqt.tensor;
  requires info.picocli;
}
