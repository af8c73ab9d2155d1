package fqt.tools;

import fqt.models.CausalLm;
import fqt.models.GenerationConfig;
import fqt.models.tokenizer.TextStream;
import fqt.models.tokenizer.Tokenizer;
import java.io.PrintWriter;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code fqt generate}: continues a prompt, printing each piece of text as soon as it is known. */
@Command(
    name = "generate",
    description = {
      "Continues a prompt and prints the continuation as it grows.",
      "What is not given comes from the checkpoint's generation_config.json."
    })
final class GenerateCommand implements Callable<Integer> {
  @Mixin private ModelOptions model;

  @Option(names = "--prompt", required = true, paramLabel = "TEXT", description = "Where to begin.")
  private String prompt;

  @Option(
      names = "--max-new-tokens",
      paramLabel = "N",
      description = "Where to stop at the latest (default: 256).")
  private Integer maxNewTokens;

  @Option(
      names = "--temperature",
      paramLabel = "T",
      description = "Divides the logits before a token is drawn; 0 takes the likeliest.")
  private Double temperature;

  @Option(names = "--seed", paramLabel = "N", description = "Of the draws (default: 0).")
  private Long seed;

  @Spec private CommandSpec spec;

  @Override
  public Integer call() {
    Options.atLeast(spec, "--max-new-tokens", maxNewTokens, 0);
    if (temperature != null && !(temperature >= 0)) {
      throw Options.wrong(spec, "--temperature is " + temperature + "; expected 0 or more");
    }
    PrintWriter out = spec.commandLine().getOut();
    try (CausalLm lm = model.load()) {
      Tokenizer tokenizer = model.tokenizer();
      TextStream text = tokenizer.stream(true);
      int[] unused =
          lm.generate(
              tokenizer.encode(prompt),
              config(),
              token -> {
                out.print(text.next(token));
                out.flush();
              });
      out.println(text.finish());
    }
    return 0;
  }

  private GenerationConfig config() {
    GenerationConfig config = GenerationConfig.load(model.folder());
    if (maxNewTokens != null) {
      config = config.withMaxNewTokens(maxNewTokens);
    }
    if (temperature != null) {
      config = config.withTemperature(temperature);
    }
    return seed == null ? config : config.withSeed(seed);
  }
}
