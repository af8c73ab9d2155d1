package fqt.tools;

import fqt.io.Json;
import fqt.models.tokenizer.Tokenizer;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code fqt tokenize}: texts to token ids, a line of JSON each. */
@Command(
    name = "tokenize",
    description =
        "Reads lines {\"text\": ...} on standard input and prints lines {\"ids\": [...]} in the same"
            + " order.")
final class TokenizeCommand implements Callable<Integer> {
  @Parameters(paramLabel = "MODEL", description = "Folder with a tokenizer.json.")
  private Path folder;

  @Spec private CommandSpec spec;

  @Override
  public Integer call() throws IOException {
    PrintWriter out = spec.commandLine().getOut();
    Tokenizer tokenizer = Tokenizer.load(folder);
    BufferedReader lines =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8.newDecoder()));
    long number = 0;
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      number++;
      if (!line.isBlank()) {
        int[] ids = tokenizer.encode(TokenData.text(line, "standard input line " + number));
        out.println(Json.write(Map.of("ids", Arrays.stream(ids).boxed().toList())));
      }
    }
    return 0;
  }
}
