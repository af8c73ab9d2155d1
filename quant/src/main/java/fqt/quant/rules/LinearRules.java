package fqt.quant.rules;

import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * What each linear gets, by its full path. The first pattern of {@code ignore} that the path
 * contains leaves the linear as it is; else the first rule that it contains decides; else the base.
 *
 * @param <S> what linears get, such as a scheme of quantization
 * @param base what all linears get that nothing else names
 * @param ignore patterns of linears that stay as they are
 * @param rules exceptions
 */
public record LinearRules<S>(S base, List<Pattern> ignore, List<Rule<S>> rules) {
  /** Routers of mixtures of experts, the gate of a shared expert, and the head: 16 bits always. */
  public static final List<Pattern> ALWAYS_IGNORED =
      Stream.of("gate", "shared_expert_gate", "lm_head")
          .map(name -> Pattern.compile("(^|\\.)" + name + "$"))
          .toList();

  /**
   * An exception.
   *
   * @param <S> what linears get
   * @param pattern found anywhere in the full path of a linear
   * @param choice what the linear gets
   */
  public record Rule<S>(Pattern pattern, S choice) {}

  /** Copies the lists. */
  public LinearRules {
    ignore = List.copyOf(ignore);
    rules = List.copyOf(rules);
  }

  /**
   * {@return the same for every linear but routers and heads}
   *
   * @param <S> what linears get, such as a scheme of quantization
   * @param choice the base
   */
  public static <S> LinearRules<S> all(S choice) {
    return new LinearRules<>(choice, ALWAYS_IGNORED, List.of());
  }

  /**
   * {@return the same with another base}
   *
   * @param choice what all linears get that nothing else names
   */
  public LinearRules<S> withBase(S choice) {
    return new LinearRules<>(choice, ignore, rules);
  }

  /**
   * {@return the same with one more pattern of linears to leave alone}
   *
   * @param regex found anywhere in the full path of a linear
   */
  public LinearRules<S> ignoring(String regex) {
    return new LinearRules<>(base, and(ignore, Pattern.compile(regex)), rules);
  }

  /**
   * {@return the same with one more exception}
   *
   * @param regex found anywhere in the full path of a linear
   * @param choice what such a linear gets, unless an earlier rule names it
   */
  public LinearRules<S> with(String regex, S choice) {
    return new LinearRules<>(base, ignore, and(rules, new Rule<>(Pattern.compile(regex), choice)));
  }

  private static <T> List<T> and(List<T> some, T more) {
    return Stream.concat(some.stream(), Stream.of(more)).toList();
  }

  /**
   * {@return whether a linear gets anything}
   *
   * @param name its full path
   */
  public boolean includes(String name) {
    return ignore.stream().noneMatch(pattern -> pattern.matcher(name).find());
  }

  /**
   * {@return what a linear gets, or null if it stays as it is}
   *
   * @param name its full path
   */
  public S choice(String name) {
    if (!includes(name)) {
      return null;
    }
    Stream<Rule<S>> found = rules.stream().filter(rule -> rule.pattern().matcher(name).find());
    return found.map(Rule::choice).findFirst().orElse(base);
  }
}
