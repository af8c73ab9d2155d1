package fqt.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Pickles that ask for more than plain values, written out opcode by opcode. */
@Timeout(60)
class PickleRefusalTest {
  private static Object read(String latin1) {
    return TorchReader.read(
        MemorySegment.ofArray(latin1.getBytes(StandardCharsets.ISO_8859_1)), "x.pkl");
  }

  private static String complaint(String latin1) {
    String message = assertThrows(FileFormatException.class, () -> read(latin1)).getMessage();
    assertTrue(message.startsWith("x.pkl"), message);
    assertEquals(1, message.lines().count());
    return message;
  }

  @Test
  void readsPlainValues() {
    assertEquals(List.of(1L, List.of()), read("\u0080\u0002](K\u0001)e."));
  }

  @ParameterizedTest
  @CsvSource({
    "os, system",
    "posix, system",
    "builtins, eval",
    "builtins, getattr",
    "builtins, set",
    "builtins, bytearray",
    "__builtin__, complex",
    "datetime, datetime",
    "decimal, Decimal",
    "copy_reg, _reconstructor",
    "operator, attrgetter",
    "array, array",
    "torch, nn.Linear",
    "torch.nn.modules.linear, Linear",
    "numpy.core.multiarray, _reconstruct",
    "__torch__, Model"
  })
  void refusesOtherConstructorsByName(String module, String name) {
    String sentence =
        "x.pkl: the pickle asks for " + module + "." + name + ", which is not allowed";
    assertEquals(sentence, complaint("\u0080\u0002c" + module + "\n" + name + "\n)R."));
    String stacked =
        "\u0080\u0004\u008c%c%s\u008c%c%s\u0093)R."
            .formatted((char) module.length(), module, (char) name.length(), name);
    assertEquals(sentence, complaint(stacked));
  }

  @ParameterizedTest
  @CsvSource(
      quoteCharacter = '`',
      value = {
        "I1~., 0x49", "L1L~., 0x4c", "F1~., 0x46", "S'a'~., 0x53", "Va~., 0x56",
        "(ios~system~., 0x69", "(o., 0x6f", "(d., 0x64", "(l., 0x6c", "Pa~., 0x50",
        "\u008f., 0x8f", ")\u0081., 0x81", "\u0082\u0001., 0x82", "\u0097., 0x97", "\u00ff., 0xff"
      })
  void refusesOtherOpcodes(String pickle, String opcode) {
    assertTrue(complaint("\u0080\u0002" + pickle.replace('~', '\n')).contains("opcode " + opcode));
  }

  @Test
  void refusesWhatLeadsOutOfThePickle() {
    assertEquals(
        "x.pkl: the pickle refers to data outside of it",
        complaint("\u0080\u0002X\u0001\u0000\u0000\u0000aQ."));
    assertEquals("x.pkl: the pickle calls what is no constructor", complaint("\u0080\u0002])R."));
    assertTrue(
        complaint("\u0080\u0002ccollections\nOrderedDict\n.").contains("constructor uncalled"));
    assertTrue(complaint("\u0080\u0002]}b.").contains("not a dict"));
  }

  @Test
  void refusesCyclesDepthAndMultiplication() {
    assertEquals("x.pkl: a value contains itself", complaint("\u0080\u0002]q\u0000h\u0000a."));
    assertEquals(
        "x.pkl: values are nested deeper than 64",
        complaint("\u0080\u0002" + "]".repeat(100) + "a".repeat(99) + "."));
    StringBuilder laughs = new StringBuilder("\u0080\u0002]");
    for (int i = 0; i < 40; i++) {
      laughs.append("q\u0000]h\u0000ah\u0000a");
    }
    // Each list is left on the stack below its successor, which holds it twice.
    assertTrue(complaint(laughs.append(".").toString()).contains("more than 16777216 values"));
  }

  @Test
  void refusesMoreOpcodesThanMemoryAllows() {
    assertEquals(
        "x.pkl: the pickle has more than 8388608 opcodes",
        complaint("\u0080\u0002]" + "N0".repeat(1 << 22) + "."));
  }

  @ParameterizedTest
  @CsvSource({
    "X\u00ff\u00ff\u00ff\u007f",
    "X\u00ff\u00ff\u00ff\u00ff",
    "B\u00ff\u00ff\u00ff\u00ff",
    "T\u00ff\u00ff\u00ff\u00ff",
    "\u008e\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u007f",
    "\u008e\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff",
    "\u008d\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u007f",
    "\u008c\u00ff",
    "\u008a\u00ff"
  })
  void refusesLengthsBeyondTheFile(String pickle) {
    assertTrue(complaint("\u0080\u0004" + pickle + "abc").startsWith("x.pkl is truncated"));
  }

  @ParameterizedTest
  @CsvSource({".", "a.", "]", "(.", "K", "t.", "\u0085.", "0.", "h\u0000.", "1.", "]h\u0005a."})
  void refusesMalformedPickles(String pickle) {
    assertTrue(complaint("\u0080\u0002" + pickle).contains("pickle"));
  }
}
