package fqt.tensor.cpu.asm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;

/** Every instruction, with low and high registers and displacements, against GNU as. */
class AssemblerTest {
  @Test
  void bytesAreThoseOfAKnownAssembler() throws IOException {
    int checked = 0;
    for (String line : lines()) {
      String[] parts = line.split("\t", -1);
      Assembler code = new Assembler();
      assemble(code, parts[1]);
      assertEquals(parts[0], HexFormat.of().formatHex(code.bytes()), parts[1]);
      checked++;
    }
    assertTrue(checked > 300, checked + " instructions checked");
  }

  @Test
  void jumpsReachTheirTargets() {
    Assembler code = new Assembler();
    int over = code.jumpZero();
    int target = code.here();
    code.ret();
    code.jumpNotZero(target);
    code.land(over);
    // jz +3; ret; jnz −3 bytes from its end
    assertEquals("0f8403000000c375fd", HexFormat.of().formatHex(code.bytes()));
    Assembler far = new Assembler();
    for (int i = 0; i < 200; i++) {
      far.ret();
    }
    far.jumpNotZero(0);
    assertTrue(HexFormat.of().formatHex(far.bytes()).endsWith("0f8532ffffff"));
  }

  @Test
  void registersThatDoNotExistAreRefused() {
    Assembler code = new Assembler();
    assertThrows(IllegalArgumentException.class, () -> code.vector(Op.VADDPS, 512, 32, 0, 0));
    assertThrows(IllegalArgumentException.class, () -> code.vexDotBytes(256, 16, 0, 0));
  }

  private static List<String> lines() throws IOException {
    List<String> lines = new ArrayList<>();
    try (BufferedReader reader =
        new BufferedReader(
            new InputStreamReader(
                AssemblerTest.class.getResourceAsStream("encodings.txt"),
                StandardCharsets.UTF_8))) {
      reader.lines().filter(line -> !line.startsWith("#")).forEach(lines::add);
    }
    return lines;
  }

  private static void assemble(Assembler code, String text) {
    String[] words = text.replace(",", "").split(" ");
    switch (words[0]) {
      case "vzeroupper" -> code.vzeroupper();
      case "cpuid" -> code.cpuid();
      case "xgetbv" -> code.xgetbv();
      case "ret" -> code.ret();
      case "sfence" -> code.storeFence();
      case "vmovss" ->
          code.vector(
              Op.VMOVSS_STORE, 128, number(words[2]), base(words[1]), displacement(words[1]));
      case "{vex}" -> vexDotBytes(code, words);
      case "prefetcht0" -> code.prefetch(memory(words[1]));
      case "prefetcht1" -> code.prefetchSecond(memory(words[1]));
      case "vpslld", "vpsrld", "vpsrad", "vpsllw", "vpsrlw" ->
          code.shift(op(words), bits(words[1]), number(words[1]), number(words[2]), value(words));
      case "vextractf128", "vextractf32x8", "vcvtps2ph" ->
          code.extract(op(words), bits(words[2]), number(words[1]), number(words[2]), value(words));
      case "vpermilps", "vroundps", "vrndscaleps" ->
          code.permute(
              op(words), bits(words[1]), number(words[1]), 0, number(words[2]), value(words));
      case "vperm2f128", "vshuff32x4", "vcmpps" ->
          code.permute(
              op(words),
              bits(words[1]),
              number(words[1]),
              number(words[2]),
              number(words[3]),
              value(words));
      case "vinsertf128" -> code.upperHalf(number(words[1]), memory(words[3]));
      case "ldtilecfg" -> code.loadTileShapes(base(words[1]), displacement(words[1]));
      case "tilerelease" -> code.releaseTiles();
      case "tilezero" -> code.zeroTile(number(words[1]));
      case "tileloadd" -> code.tile(op(words), number(words[1]), memory(words[2]));
      case "tilestored" -> code.tile(op(words), number(words[2]), memory(words[1]));
      case "tdpbssd", "tdpbf16ps" ->
          code.tiles(op(words), number(words[1]), number(words[2]), number(words[3]));
      default -> {
        if (words[0].startsWith("v")) {
          vector(code, words);
        } else {
          general(code, words);
        }
      }
    }
  }

  private static void vexDotBytes(Assembler code, String[] words) {
    int first = number(words[2]);
    int second = number(words[3]);
    if (isMemory(words[4])) {
      code.vexDotBytes(bits(words[2]), first, second, memory(words[4]));
    } else {
      code.vexDotBytes(bits(words[2]), first, second, number(words[4]));
    }
  }

  private static void vector(Assembler code, String[] words) {
    if (isMemory(words[1])) {
      Op store = words[0].equals("vmovntps") ? Op.VMOVNTPS : Op.VMOVUPS_STORE;
      code.vector(store, bits(words[2]), number(words[2]), 0, memory(words[1]));
      return;
    }
    String last = words[words.length - 1];
    int bits = bits(words[1]);
    int second = words.length == 4 ? number(words[2]) : 0;
    if (isMemory(last)) {
      code.vector(op(words), bits, number(words[1]), second, memory(last));
    } else {
      code.vector(op(words), bits, number(words[1]), second, number(last));
    }
  }

  /** GNU as calls the bitwise operations on 512 bits by the width of their elements. */
  private static Op op(String[] words) {
    String name =
        switch (words[0]) {
          case "vpandd", "vpxord" -> words[0].substring(0, 5);
          case "vrndscaleps" -> "vroundps";
          default -> words[0];
        };
    return Op.valueOf(name.toUpperCase(Locale.ROOT));
  }

  private static int value(String[] words) {
    return Integer.parseInt(words[words.length - 1]);
  }

  private static void general(Assembler code, String[] words) {
    Reg to = isMemory(words[1]) ? null : register(words[1]);
    boolean immediate = words.length > 2 && words[2].matches("-?[0-9]+");
    int value = immediate ? Integer.parseInt(words[2]) : 0;
    switch (words[0]) {
      case "mov" -> {
        if (immediate) {
          code.move(to, value);
        } else if (to == null) {
          code.storeInt(register(words[2]), base(words[1]), displacement(words[1]));
        } else if (isMemory(words[2])) {
          code.load(to, base(words[2]), displacement(words[2]));
        } else {
          code.move(to, register(words[2]));
        }
      }
      case "add" -> {
        if (immediate) {
          code.add(to, value);
        } else {
          code.add(to, register(words[2]));
        }
      }
      case "and" -> code.and(to, value);
      case "shl" -> code.shiftLeft(to, value);
      case "shr" -> code.shiftRight(to, value);
      case "dec" -> code.decrement(to);
      case "test" -> code.test(to);
      case "xor" -> code.clear(to);
      case "push" -> code.push(to);
      case "pop" -> code.pop(to);
      default -> throw new IllegalArgumentException(String.join(" ", words));
    }
  }

  private static boolean isMemory(String word) {
    return word.startsWith("[");
  }

  private static int bits(String register) {
    return 128 << "xyz".indexOf(register.charAt(0));
  }

  private static int number(String register) {
    return Integer.parseInt(register.substring(3));
  }

  /** The register by its 64-bit or 32-bit name: rax or eax, r9 or r9d. */
  private static Reg register(String name) {
    String wide = name.startsWith("e") ? "r" + name.substring(1) : name;
    return Reg.valueOf(wide.replaceAll("(r[0-9]+)d", "$1").toUpperCase(Locale.ROOT));
  }

  private static Reg base(String memory) {
    return register(memory.split("[\\[\\]+-]", -1)[1]);
  }

  private static Mem memory(String memory) {
    String[] parts = memory.split("[\\[\\]+*-]", -1);
    return memory.contains("*")
        ? Mem.at(base(memory), register(parts[2]), Integer.parseInt(parts[3]), displacement(memory))
        : Mem.at(base(memory), displacement(memory));
  }

  private static int displacement(String memory) {
    String inside = memory.substring(1, memory.length() - 1);
    int at = Math.max(inside.lastIndexOf('+'), inside.lastIndexOf('-'));
    return at < 0 || inside.indexOf('*', at) >= 0 ? 0 : Integer.parseInt(inside.substring(at));
  }
}
