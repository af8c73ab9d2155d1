package fqt.tensor;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A place where tensors live and operations run.
 *
 * @param kind {@code "cpu"} or the kind of another backend, such as {@code "cuda"}
 * @param index which of several devices of that kind, from 0
 */
public record Device(String kind, int index) {
  /** The host's processor and memory. */
  public static final Device CPU = new Device("cpu", 0);

  private static final Pattern SYNTAX = Pattern.compile("([a-z]+)(?::([0-9]{1,4}))?");

  /**
   * {@return one NVIDIA GPU}
   *
   * @param index which of several, from 0
   */
  public static Device cuda(int index) {
    return new Device("cuda", index);
  }

  /**
   * Reads {@code cpu}, {@code cuda} or {@code cuda:1}.
   *
   * @param text what a command line gives
   * @return the device, number 0 where none is given
   * @throws IllegalArgumentException if the text is none of these
   */
  public static Device parse(String text) {
    Matcher matcher = SYNTAX.matcher(text);
    if (!matcher.matches()) {
      throw new IllegalArgumentException(
          "'" + text + "' is no device; expected cpu, cuda or cuda:N");
    }
    int index = matcher.group(2) == null ? 0 : Integer.parseInt(matcher.group(2));
    return new Device(matcher.group(1), index);
  }

  /** {@return whether tensors on this device can be read through a {@code MemorySegment}} */
  public boolean isHost() {
    return kind.equals(CPU.kind);
  }

  @Override
  public String toString() {
    return isHost() ? kind : kind + ":" + index;
  }
}
