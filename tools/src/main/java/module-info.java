/** The command line and what only it needs: progress, tables, data files, the main job. */
module fqt.tools {
  requires fqt.models;
  requires fqt.quant;
  requires fqt.tensor;
  requires info.picocli;
  requires jdk.management;

  opens fqt.tools to
      info.picocli;
}
