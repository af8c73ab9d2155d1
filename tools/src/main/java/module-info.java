/** The command line and what only it needs: progress, tables, data files, the main job. */
module fqt.tools {
  requires fqt.cuda;
  requires fqt.models;
  requires fqt.quant;
  requires transitive fqt.tensor;
  requires info.picocli;
  requires java.logging;
  requires transitive java.desktop;
  requires jdk.incubator.vector;
  requires jdk.management;

  exports fqt.tools;
  exports fqt.tools.plot;

  opens fqt.tools to
      info.picocli;
}
