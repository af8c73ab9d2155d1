package fqt.io;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A JSON object with typed look-ups. Each throws one sentence that names the file, the key, what
 * was expected and what was found. A key whose value is {@code null} counts as absent.
 *
 * {@snippet :
 * JsonObject config = Json.readObject(folder.resolve("config.json"));
 * int layers = config.getInt("num_hidden_layers");
 * double epsilon = config.getDouble("rms_norm_eps", 1e-6);
 * }
 *
 * @param values the plain values, unmodifiable, in the order of the file
 * @param source the file, and the path of keys inside it, for messages
 */
public record JsonObject(Map<String, Object> values, String source) {
  /** Copies the map's first level, so that later changes to it do not show. */
  public JsonObject {
    values = Collections.unmodifiableMap(new LinkedHashMap<>(values));
  }

  /**
   * Takes a plain value for an object.
   *
   * @throws FileFormatException if it is none
   */
  public static JsonObject of(Object value, String source) {
    if (!(value instanceof Map<?, ?> map)) {
      throw new FileFormatException(
          source + " holds " + describe(value) + ", expected a JSON object");
    }
    Map<String, Object> values = new LinkedHashMap<>();
    map.forEach((name, element) -> values.put((String) name, element));
    return new JsonObject(values, source);
  }

  /** All keys, also those whose value is null. */
  public Set<String> names() {
    return values.keySet();
  }

  /** Whether there is a value that is not null. */
  public boolean has(String name) {
    return values.get(name) != null;
  }

  /**
   * An integer.
   *
   * @throws FileFormatException if it is missing, of another type or beyond 64 bits
   */
  public long getLong(String name) {
    return integer(require(name, "an integer"), name);
  }

  /** An integer, or the default if it is absent. */
  public long getLong(String name, long absent) {
    return has(name) ? getLong(name) : absent;
  }

  /**
   * An integer of 32 bits.
   *
   * @throws FileFormatException if it is missing, of another type or out of range
   */
  public int getInt(String name) {
    long value = getLong(name);
    if (value != (int) value) {
      throw wrong(name, "an integer of 32 bits", value);
    }
    return (int) value;
  }

  /** An integer of 32 bits, or the default if it is absent. */
  public int getInt(String name, int absent) {
    return has(name) ? getInt(name) : absent;
  }

  /**
   * A number.
   *
   * @throws FileFormatException if it is missing or of another type
   */
  public double getDouble(String name) {
    return number(require(name, "a number"), name);
  }

  /** A number, or the default if it is absent. */
  public double getDouble(String name, double absent) {
    return has(name) ? getDouble(name) : absent;
  }

  /**
   * A text.
   *
   * @throws FileFormatException if it is missing or of another type
   */
  public String getString(String name) {
    return text(require(name, "a string"), name);
  }

  /** A text, or the default (which may be null) if it is absent. */
  public String getString(String name, String absent) {
    return has(name) ? getString(name) : absent;
  }

  /**
   * A truth value.
   *
   * @throws FileFormatException if it is missing or of another type
   */
  public boolean getBoolean(String name) {
    Object value = require(name, "true or false");
    if (value instanceof Boolean truth) {
      return truth;
    }
    throw wrong(name, "true or false", value);
  }

  /** A truth value, or the default if it is absent. */
  public boolean getBoolean(String name, boolean absent) {
    return has(name) ? getBoolean(name) : absent;
  }

  /**
   * A nested object, whose messages will name the path to it.
   *
   * @throws FileFormatException if it is missing or of another type
   */
  public JsonObject getObject(String name) {
    Object value = require(name, "an object");
    if (!(value instanceof Map)) {
      throw wrong(name, "an object", value);
    }
    return of(value, path(name));
  }

  /** A nested object, or an empty one if it is absent. */
  public JsonObject getObjectOrEmpty(String name) {
    return has(name) ? getObject(name) : new JsonObject(Map.of(), path(name));
  }

  /**
   * The plain values of an array.
   *
   * @throws FileFormatException if it is missing or of another type
   */
  public List<Object> getList(String name) {
    Object value = require(name, "an array");
    if (value instanceof List<?> list) {
      return Collections.unmodifiableList(list);
    }
    throw wrong(name, "an array", value);
  }

  /** The elements of an array of objects; element {@code i} is called {@code name[i]}. */
  public List<JsonObject> getObjects(String name) {
    List<JsonObject> objects = new ArrayList<>();
    for (Object element : getList(name)) {
      objects.add(of(element, path(name + "[" + objects.size() + "]")));
    }
    return objects;
  }

  /** The elements of an array of strings. */
  public List<String> getStrings(String name) {
    List<String> texts = new ArrayList<>();
    for (Object element : getList(name)) {
      texts.add(text(element, name + "[" + texts.size() + "]"));
    }
    return texts;
  }

  /** The elements of an array of integers. */
  public long[] getLongs(String name) {
    List<Object> list = getList(name);
    long[] numbers = new long[list.size()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = integer(list.get(i), name + "[" + i + "]");
    }
    return numbers;
  }

  /** The elements of an array of numbers. */
  public double[] getDoubles(String name) {
    List<Object> list = getList(name);
    double[] numbers = new double[list.size()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = number(list.get(i), name + "[" + i + "]");
    }
    return numbers;
  }

  /** A complaint about the value of a key, for checks that go beyond its type. */
  public FileFormatException wrong(String name, String expected, Object found) {
    return new FileFormatException(
        "%s: %s is %s, expected %s".formatted(source, name, describe(found), expected));
  }

  private Object require(String name, String expected) {
    Object value = values.get(name);
    if (value == null) {
      throw new FileFormatException(
          "%s: %s is missing, expected %s".formatted(source, name, expected));
    }
    return value;
  }

  private long integer(Object value, String name) {
    if (value instanceof Long number) {
      return number;
    }
    throw wrong(name, "an integer of 64 bits", value);
  }

  private double number(Object value, String name) {
    return switch (value) {
      case Long number -> number;
      case Double number -> number;
      case null, default -> throw wrong(name, "a number", value);
    };
  }

  private String text(Object value, String name) {
    if (value instanceof String text) {
      return text;
    }
    throw wrong(name, "a string", value);
  }

  private String path(String name) {
    return source + ": " + name;
  }

  private static String describe(Object value) {
    return switch (value) {
      case null -> "null";
      case Map<?, ?> map -> "an object";
      case List<?> list -> "an array";
      case String text when text.length() > 60 -> '"' + text.substring(0, 60) + "…\"";
      case String text -> '"' + text + '"';
      default -> value.toString();
    };
  }
}
