package fqt.io;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.Reader;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigInteger;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.PrettyPrinter;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.core.util.DefaultIndenter;
import tools.jackson.core.util.DefaultPrettyPrinter;
import tools.jackson.core.util.Separators;

/**
 * JSON as plain Java values: {@code LinkedHashMap<String, Object>}, {@code List<Object>}, {@code
 * String}, {@code Long}, {@code Double}, {@code Boolean} and {@code null}. An integer beyond 64
 * bits becomes a {@code BigInteger}, so that a file can be written back unchanged; the accessors of
 * {@link JsonObject} refuse it.
 *
 * <p>Reading is bounded: {@value #MAX_DEPTH} levels, {@value #MAX_BYTES} bytes, {@value
 * #MAX_TOKENS} tokens. An object that names a key twice is refused.
 */
public final class Json {
  static final int MAX_DEPTH = 256;
  static final int MAX_BYTES = 1 << 28;
  static final int MAX_TOKENS = 1 << 24;

  private static final JsonFactory FACTORY =
      JsonFactory.builder()
          .streamReadConstraints(
              StreamReadConstraints.builder()
                  .maxNestingDepth(MAX_DEPTH)
                  .maxDocumentLength(MAX_BYTES)
                  .maxTokenCount(MAX_TOKENS)
                  .maxStringLength(MAX_BYTES)
                  .build())
          .build();

  private Json() {}

  /**
   * Reads a file that holds one JSON value.
   *
   * @param path the file, in UTF-8
   * @return a map in the order of the file, a list, a String, Long, Double or Boolean, or null
   * @throws FileFormatException if it holds anything else
   * @throws java.io.UncheckedIOException if it cannot be read
   */
  public static Object read(Path path) {
    try (InputStream in = Files.newInputStream(path)) {
      return parse(utf8(in), path.toString());
    } catch (IOException e) {
      throw IoErrors.reading(path, e);
    }
  }

  /**
   * Reads a file that holds one JSON object.
   *
   * @param path the file, in UTF-8
   * @return the object, whose messages name {@code path}
   * @throws FileFormatException if it holds anything else
   * @throws java.io.UncheckedIOException if it cannot be read
   */
  public static JsonObject readObject(Path path) {
    return JsonObject.of(read(path), path.toString());
  }

  /**
   * Parses a text that holds one JSON value.
   *
   * @param text the whole text, with nothing but white space around the value
   * @param source what the text is, for messages
   * @return the value, as from {@link #read}
   * @throws FileFormatException if it is anything else
   */
  public static Object parse(String text, String source) {
    return parse(new StringReader(text), source);
  }

  /**
   * Parses UTF-8 bytes that hold one JSON value.
   *
   * @param utf8 the whole text, with nothing but white space around the value
   * @param source what the bytes are, for messages
   * @return the value, as from {@link #read}
   * @throws FileFormatException if they are anything else
   */
  public static Object parse(byte[] utf8, String source) {
    return parse(utf8(new ByteArrayInputStream(utf8)), source);
  }

  /** A reader that reports malformed bytes, and guesses at no other encoding. */
  private static Reader utf8(InputStream in) {
    return new InputStreamReader(in, StandardCharsets.UTF_8.newDecoder());
  }

  private static Object parse(Reader text, String source) {
    try (JsonParser parser = FACTORY.createParser(ObjectReadContext.empty(), text)) {
      return document(parser, source);
    } catch (JacksonException e) {
      throw switch (e.getCause()) {
        case CharacterCodingException cause ->
            new FileFormatException(source + " is not valid UTF-8", e);
        case IOException cause -> IoErrors.reading(source, cause);
        case null, default -> notJson(source, e);
      };
    }
  }

  private static FileFormatException notJson(String source, JacksonException e) {
    String what = e.getOriginalMessage().replaceAll("\\s+", " ");
    String where =
        e.getLocation() == null || e.getLocation().getLineNr() < 1
            ? ""
            : " at line %d, column %d"
                .formatted(e.getLocation().getLineNr(), e.getLocation().getColumnNr());
    return new FileFormatException(source + " is not valid JSON" + where + ": " + what, e);
  }

  private static Object document(JsonParser parser, String source) {
    JsonToken first = parser.nextToken();
    if (first == null) {
      throw new FileFormatException(source + " is empty, expected JSON");
    }
    Object value = value(parser, first, source);
    if (parser.nextToken() != null) {
      throw new FileFormatException(
          source + " continues after the end of its JSON value" + line(parser));
    }
    return value;
  }

  private static String line(JsonParser parser) {
    return " at line " + parser.currentTokenLocation().getLineNr();
  }

  private static Object value(JsonParser parser, JsonToken token, String source) {
    return switch (token) {
      case START_OBJECT -> object(parser, source);
      case START_ARRAY -> array(parser, source);
      case VALUE_STRING -> wellFormed(parser.getString(), parser, source);
      case VALUE_NUMBER_INT ->
          parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER
              ? parser.getBigIntegerValue()
              : (Object) parser.getLongValue();
      case VALUE_NUMBER_FLOAT -> finite(parser, source);
      case VALUE_TRUE -> true;
      case VALUE_FALSE -> false;
      case VALUE_NULL -> null;
      case END_OBJECT, END_ARRAY, PROPERTY_NAME, NOT_AVAILABLE, VALUE_EMBEDDED_OBJECT ->
          throw new FileFormatException(source + " has an unexpected " + token + line(parser));
    };
  }

  private static Map<String, Object> object(JsonParser parser, String source) {
    Map<String, Object> values = new LinkedHashMap<>();
    while (parser.nextToken() == JsonToken.PROPERTY_NAME) {
      String name = wellFormed(parser.currentName(), parser, source);
      int before = values.size();
      values.put(name, value(parser, parser.nextToken(), source));
      if (values.size() == before) {
        throw new FileFormatException(source + " names \"" + name + "\" twice" + line(parser));
      }
    }
    return values;
  }

  private static List<Object> array(JsonParser parser, String source) {
    List<Object> values = new ArrayList<>();
    for (JsonToken next = parser.nextToken();
        next != JsonToken.END_ARRAY;
        next = parser.nextToken()) {
      values.add(value(parser, next, source));
    }
    return values;
  }

  private static String wellFormed(String text, JsonParser parser, String source) {
    if (hasHalfPair(text)) {
      throw new FileFormatException(source + " has half a surrogate pair" + line(parser));
    }
    return text;
  }

  /** Half a surrogate pair can be escaped in JSON, but is no character and has no UTF-8 form. */
  private static boolean hasHalfPair(String text) {
    for (int i = 0; i < text.length(); i++) {
      if (Character.isSurrogate(text.charAt(i)) && text.codePointAt(i++) <= Character.MAX_VALUE) {
        return true;
      }
    }
    return false;
  }

  private static Double finite(JsonParser parser, String source) {
    double number = parser.getDoubleValue();
    if (Double.isInfinite(number)) {
      throw new FileFormatException(
          source + " has a number beyond the range of a double" + line(parser));
    }
    return number;
  }

  /**
   * {@return compact JSON on one line}
   *
   * @param value maps with string keys, lists, strings, numbers, booleans and null, nested at will;
   *     maps are written in the order of their iteration
   * @throws IllegalArgumentException if there is another type, a number that is not finite or half
   *     a surrogate pair
   */
  public static String write(Object value) {
    return write(value, ObjectWriteContext.empty());
  }

  /**
   * {@return indented JSON that ends in a line feed; otherwise as {@link #write(Object)}}
   *
   * @param value as for {@link #write(Object)}
   */
  public static String pretty(Object value) {
    return write(value, new Pretty()) + "\n";
  }

  private static String write(Object value, ObjectWriteContext context) {
    StringWriter text = new StringWriter();
    try (JsonGenerator generator = FACTORY.createGenerator(context, text)) {
      write(generator, value);
    }
    return text.toString();
  }

  /**
   * Writes indented JSON to a file that appears whole or not at all.
   *
   * @param path the file; replaced if it exists
   * @param value as for {@link #write(Object)}
   */
  public static void write(Path path, Object value) {
    try (AtomicFile file = AtomicFile.create(path)) {
      file.write(pretty(value).getBytes(StandardCharsets.UTF_8));
      file.commit();
    }
  }

  private static void write(JsonGenerator out, Object value) {
    switch (value) {
      case null -> out.writeNull();
      case String text when !hasHalfPair(text) -> out.writeString(text);
      case Boolean truth -> out.writeBoolean(truth);
      case Long number -> out.writeNumber(number);
      case Integer number -> out.writeNumber(number);
      case BigInteger number -> out.writeNumber(number);
      case Double number when Double.isFinite(number) -> out.writeNumber(number);
      case Float number when Float.isFinite(number) -> out.writeNumber(number);
      case JsonObject object -> write(out, object.values());
      case Map<?, ?> map -> {
        out.writeStartObject();
        map.forEach(
            (name, element) -> {
              out.writeName((String) name);
              write(out, element);
            });
        out.writeEndObject();
      }
      case Iterable<?> list -> {
        out.writeStartArray();
        list.forEach(element -> write(out, element));
        out.writeEndArray();
      }
      default ->
          throw new IllegalArgumentException(
              "JSON has no form for " + value + " (" + value.getClass().getName() + ")");
    }
  }

  /** Two spaces a level and one element a line, as configuration files are usually written. */
  private static final class Pretty extends ObjectWriteContext.Base {
    private static final DefaultIndenter INDENT = new DefaultIndenter("  ", "\n");

    @Override
    public boolean hasPrettyPrinter() {
      return true;
    }

    @Override
    public PrettyPrinter getPrettyPrinter() {
      return new DefaultPrettyPrinter()
          .withSeparators(
              Separators.createDefaultInstance()
                  .withObjectNameValueSpacing(Separators.Spacing.AFTER)
                  .withObjectEmptySeparator("")
                  .withArrayEmptySeparator(""))
          .withArrayIndenter(INDENT)
          .withObjectIndenter(INDENT);
    }
  }
}
