package fqt.models.tokenizer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import fqt.io.FileFormatException;
import fqt.io.Json;
import fqt.models.tokenizer.ChatTemplate.Message;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ChatTemplateTest {
  private static final List<Message> HELLO = List.of(new Message("user", "Hello"));

  @Test
  void rendersTheFixtures() {
    Path folder = Path.of(System.getProperty("fqt.fixtures"), "tiny-qwen2");
    ChatTemplate template = ChatTemplate.load(folder);
    assertEquals("<|im_start|>user\nHello<|im_end|>\n", template.render(HELLO, false));
    assertEquals(
        """
        <|im_start|>system
        Be brief.<|im_end|>
        <|im_start|>user
        Hello<|im_end|>
        <|im_start|>assistant
        """,
        template.render(List.of(new Message("system", "Be brief."), HELLO.getFirst()), true));
  }

  @Test
  void findsTheDefaultSystemMessage() {
    ChatTemplate template =
        ChatTemplate.of(
            "{{- '<|im_start|>system\\n' + m.content + '<|im_end|>\\n' }}"
                + "{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}",
            "x");
    assertEquals("You are a helpful assistant.", template.defaultSystem());
    assertEquals(
        """
        <|im_start|>system
        You are a helpful assistant.<|im_end|>
        <|im_start|>user
        Hello<|im_end|>
        """,
        template.render(HELLO, false));
    Message system = new Message("system", "S");
    assertEquals("<|im_start|>system\nS<|im_end|>\n", template.render(List.of(system), false));
  }

  @Test
  void readsTheConfiguration(@TempDir Path folder) {
    Path config = folder.resolve("tokenizer_config.json");
    String chatml = "<|im_start|>{{ m }}<|im_end|>";
    Json.write(config, Map.of("chat_template", chatml));
    assertNull(ChatTemplate.load(folder).defaultSystem());
    Json.write(
        config, Map.of("chat_template", List.of(Map.of("name", "default", "template", chatml))));
    assertNull(ChatTemplate.load(folder).defaultSystem());
    Json.write(config, Map.of("chat_template", "[INST]"));
    FileFormatException e =
        assertThrows(FileFormatException.class, () -> ChatTemplate.load(folder));
    assertEquals(
        config
            + ": the chat template does not mention <|im_start|> and <|im_end|>, and only ChatML"
            + " is supported",
        e.getMessage());
    Json.write(config, Map.of());
    e = assertThrows(FileFormatException.class, () -> ChatTemplate.load(folder));
    assertEquals(config + ": chat_template is missing, expected a string", e.getMessage());
  }
}
