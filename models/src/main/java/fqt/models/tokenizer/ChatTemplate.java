package fqt.models.tokenizer;

import fqt.io.FileFormatException;
import fqt.io.Json;
import fqt.io.JsonObject;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A conversation as the text that a chat model was trained on. Templates are programs in files; we
 * run none, but recognise the one that Qwen and many others use, ChatML:
 *
 * <pre>
 * &lt;|im_start|&gt;user
 * Hello&lt;|im_end|&gt;
 * &lt;|im_start|&gt;assistant
 * </pre>
 *
 * @param defaultSystem what the system says if the conversation does not begin with it, or null
 */
public record ChatTemplate(String defaultSystem) {
  private static final String START = "<|im_start|>";
  private static final String END = "<|im_end|>";

  /** A default system message as templates spell it: a literal between the two marks. */
  private static final Pattern DEFAULT_SYSTEM =
      Pattern.compile(
          Pattern.quote(START + "system") + "(?:\\\\n|\\n)([^'\"{}<]+)" + Pattern.quote(END));

  /**
   * One turn of a conversation.
   *
   * @param role {@code system}, {@code user} or {@code assistant}
   * @param content what was said
   */
  public record Message(String role, String content) {}

  /**
   * Reads a model's template: {@code chat_template.jinja}, or {@code chat_template} in {@code
   * tokenizer_config.json}.
   *
   * @param folder the checkpoint
   * @return the template, if it is of the kind that {@link #render} writes
   * @throws FileFormatException if there is none or it is not ChatML
   * @throws UncheckedIOException if a file cannot be read
   */
  public static ChatTemplate load(Path folder) {
    Path file = folder.resolve("chat_template.jinja");
    if (!Files.exists(file)) {
      Path config = folder.resolve("tokenizer_config.json");
      return of(inConfig(Json.readObject(config)), config.toString());
    }
    try {
      return of(Files.readString(file), file.toString());
    } catch (IOException e) {
      throw new UncheckedIOException("cannot read " + file + ": " + e.getMessage(), e);
    }
  }

  /** The template is a text, or a list of named ones of which one is called default. */
  private static String inConfig(JsonObject config) {
    if (config.values().get("chat_template") instanceof List<?>) {
      for (JsonObject named : config.getObjects("chat_template")) {
        if (named.getString("name").equals("default")) {
          return named.getString("template");
        }
      }
      throw config.wrong("chat_template", "one called default", "a list without it");
    }
    return config.getString("chat_template");
  }

  /**
   * Recognises a template.
   *
   * @param template its Jinja source
   * @param source where it is from, for messages
   * @return the template, if it is of the kind that {@link #render} writes
   * @throws FileFormatException if it is not ChatML
   */
  public static ChatTemplate of(String template, String source) {
    if (!template.contains(START) || !template.contains(END)) {
      throw new FileFormatException(
          "%s: the chat template does not mention %s and %s, and only ChatML is supported"
              .formatted(source, START, END));
    }
    Matcher system = DEFAULT_SYSTEM.matcher(template);
    return new ChatTemplate(system.find() ? system.group(1) : null);
  }

  /**
   * {@return the text of a conversation}
   *
   * @param messages what was said so far, in order
   * @param answer whether it ends where the model's next answer begins
   */
  public String render(List<Message> messages, boolean answer) {
    StringBuilder text = new StringBuilder();
    boolean hasSystem = !messages.isEmpty() && messages.getFirst().role().equals("system");
    if (defaultSystem != null && !hasSystem) {
      add(text, new Message("system", defaultSystem));
    }
    messages.forEach(message -> add(text, message));
    return answer ? text.append(START + "assistant\n").toString() : text.toString();
  }

  private static void add(StringBuilder text, Message message) {
    text.append(START).append(message.role()).append('\n');
    text.append(message.content()).append(END).append('\n');
  }
}
