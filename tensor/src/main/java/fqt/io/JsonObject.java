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
   * @param value a map with string keys, as {@link Json} gives it
   * @param source where it is from, for messages: a file, and the path of keys inside it
   * @return the object, with {@code value}'s first level copied
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

  /** {@return all keys, also those whose value is null} */
  public Set<String> names() {
    return values.keySet();
  }

  /**
   * {@return whether there is a value that is not null}
   *
   * @param name a key of this object
   */
  public boolean has(String name) {
    return values.get(name) != null;
  }

  /**
   * {@return an integer}
   *
   * @param name its key
   * @throws FileFormatException if it is missing, of another type or beyond 64 bits
   */
  public long getLong(String name) {
    return integer(require(name, "an integer"), name);
  }

  /**
   * {@return an integer, or the default if it is absent}
   *
   * @param name its key
   * @param absent what to return if the key is missing or null
   */
  public long getLong(String name, long absent) {
    return has(name) ? getLong(name) : absent;
  }

  /**
   * {@return an integer of 32 bits}
   *
   * @param name its key
   * @throws FileFormatException if it is missing, of another type or out of range
   */
  public int getInt(String name) {
    long value = getLong(name);
    if (value != (int) value) {
      throw wrong(name, "an integer of 32 bits", value);
    }
    return (int) value;
  }

  /**
   * {@return an integer of 32 bits, or the default if it is absent}
   *
   * @param name its key
   * @param absent what to return if the key is missing or null
   */
  public int getInt(String name, int absent) {
    return has(name) ? getInt(name) : absent;
  }

  /**
   * {@return a number}
   *
   * @param name its key; the number may be written as an integer
   * @throws FileFormatException if it is missing or of another type
   */
  public double getDouble(String name) {
    return number(require(name, "a number"), name);
  }

  /**
   * {@return a number, or the default if it is absent}
   *
   * @param name its key
   * @param absent what to return if the key is missing or null
   */
  public double getDouble(String name, double absent) {
    return has(name) ? getDouble(name) : absent;
  }

  /**
   * {@return a text}
   *
   * @param name its key
   * @throws FileFormatException if it is missing or of another type
   */
  public String getString(String name) {
    return text(require(name, "a string"), name);
  }

  /**
   * {@return a text, or the default (which may be null) if it is absent}
   *
   * @param name its key
   * @param absent what to return if the key is missing or null
   */
  public String getString(String name, String absent) {
    return has(name) ? getString(name) : absent;
  }

  /**
   * {@return a truth value}
   *
   * @param name its key
   * @throws FileFormatException if it is missing or of another type
   */
  public boolean getBoolean(String name) {
    Object value = require(name, "true or false");
    if (value instanceof Boolean truth) {
      return truth;
    }
    throw wrong(name, "true or false", value);
  }

  /**
   * {@return a truth value, or the default if it is absent}
   *
   * @param name its key
   * @param absent what to return if the key is missing or null
   */
  public boolean getBoolean(String name, boolean absent) {
    return has(name) ? getBoolean(name) : absent;
  }

  /**
   * {@return a nested object, whose messages will name the path to it}
   *
   * @param name its key
   * @throws FileFormatException if it is missing or of another type
   */
  public JsonObject getObject(String name) {
    Object value = require(name, "an object");
    if (!(value instanceof Map)) {
      throw wrong(name, "an object", value);
    }
    return of(value, path(name));
  }

  /**
   * {@return a nested object, or an empty one if it is absent}
   *
   * @param name its key; of a value that is there and no object, the look-up complains
   */
  public JsonObject getObjectOrEmpty(String name) {
    return has(name) ? getObject(name) : new JsonObject(Map.of(), path(name));
  }

  /**
   * {@return the plain values of an array}
   *
   * @param name its key
   * @throws FileFormatException if it is missing or of another type
   */
  public List<Object> getList(String name) {
    Object value = require(name, "an array");
    if (value instanceof List<?> list) {
      return Collections.unmodifiableList(list);
    }
    throw wrong(name, "an array", value);
  }

  /**
   * {@return the elements of an array of objects; element {@code i} is called {@code name[i]}}
   *
   * @param name the array's key
   */
  public List<JsonObject> getObjects(String name) {
    List<JsonObject> objects = new ArrayList<>();
    for (Object element : getList(name)) {
      objects.add(of(element, path(name + "[" + objects.size() + "]")));
    }
    return objects;
  }

  /**
   * {@return the elements of an array of strings}
   *
   * @param name the array's key
   */
  public List<String> getStrings(String name) {
    List<String> texts = new ArrayList<>();
    for (Object element : getList(name)) {
      texts.add(text(element, name + "[" + texts.size() + "]"));
    }
    return texts;
  }

  /**
   * {@return the elements of an array of integers}
   *
   * @param name the array's key
   */
  public long[] getLongs(String name) {
    List<Object> list = getList(name);
    long[] numbers = new long[list.size()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = integer(list.get(i), name + "[" + i + "]");
    }
    return numbers;
  }

  /**
   * {@return the elements of an array of numbers}
   *
   * @param name the array's key; integers among the numbers are converted
   */
  public double[] getDoubles(String name) {
    List<Object> list = getList(name);
    double[] numbers = new double[list.size()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = number(list.get(i), name + "[" + i + "]");
    }
    return numbers;
  }

  /**
   * {@return a complaint about the value of a key, to be thrown} For checks that go beyond its
   * type.
   *
   * @param name its key
   * @param expected what would have been right, as a noun phrase
   * @param found the value that is there
   */
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
