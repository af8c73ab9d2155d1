package fqt.tools;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import picocli.CommandLine;
import picocli.CommandLine.Help.Ansi;

/**
 * Writes what {@code --help} prints into files, which the launcher shows without starting a VM. The
 * build runs it.
 */
final class HelpPages {
  private HelpPages() {}

  /**
   * Writes two pages for {@code fqt} and two for each command: {@code NAME}, and {@code NAME.color}
   * for a terminal.
   *
   * @param arguments the folder to write to, which is made if need be
   */
  public static void main(String... arguments) throws IOException {
    Path folder = Files.createDirectories(Path.of(arguments[0]));
    CommandLine fqt = Main.commandLine();
    write(folder, fqt);
    for (CommandLine command : fqt.getSubcommands().values()) {
      write(folder, command);
    }
  }

  private static void write(Path folder, CommandLine command) throws IOException {
    String name = command.getCommandName();
    Files.writeString(folder.resolve(name), command.getUsageMessage(Ansi.OFF));
    Files.writeString(folder.resolve(name + ".color"), command.getUsageMessage(Ansi.ON));
  }
}
