package fqt.tools;

import fqt.models.CausalLm;
import fqt.models.GenerationConfig;
import fqt.models.PictureTokens;
import fqt.models.Pictures;
import fqt.models.tokenizer.ChatTemplate;
import fqt.models.tokenizer.TextStream;
import fqt.models.tokenizer.Tokenizer;
import fqt.tensor.Scope;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
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
      names = "--image",
      paramLabel = "FILE",
      description =
          "A picture to look at; may be given several times. Pictures stand before the prompt.")
  private List<Path> images = List.of();

  @Option(
      names = "--chat",
      description = "Takes the prompt for a user's message and lets the model answer it.")
  private boolean chat;

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
    try (CausalLm lm = model.load();
        Scope scope = Scope.open()) {
      Tokenizer tokenizer = model.tokenizer();
      TextStream text = tokenizer.stream(true);
      Pictures pictures = images.isEmpty() ? null : model.pictures(lm, images);
      int[] ids = tokenizer.encode(text(lm, tokenizer));
      int[] unused =
          lm.generate(
              pictures == null ? ids : lm.expand(ids, pictures),
              pictures,
              config(),
              token -> {
                out.print(text.next(token));
                out.flush();
              });
      out.println(text.finish());
    }
    return 0;
  }

  /** The prompt after its pictures, as a message if it is one. */
  private String text(CausalLm lm, Tokenizer tokenizer) {
    StringBuilder text = new StringBuilder();
    PictureTokens tokens = lm.config().pictureTokens();
    for (int i = 0; i < images.size(); i++) {
      text.append(
          tokenizer.decode(new int[] {tokens.start(), tokens.picture(), tokens.end()}, false));
    }
    text.append(prompt);
    return chat
        ? ChatTemplate.load(model.folder())
            .render(List.of(new ChatTemplate.Message("user", text.toString())), true)
        : text.toString();
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
