package fqt.quant;

import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.quant.flow.Target;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Which scheme each linear gets. The first pattern of {@code ignore} that a full path contains
 * leaves it in floating point; else the first rule that it contains decides; else the base.
 *
 * @param base scheme of all linears that nothing else names
 * @param ignore patterns of linears that stay as they are
 * @param rules exceptions
 */
public record SchemeRules(Scheme base, List<Pattern> ignore, List<Rule> rules) {
  /** Routers of mixtures of experts, the gate of a shared expert, and the head: 16 bits always. */
  public static final List<Pattern> ALWAYS_IGNORED =
      Stream.of("gate", "shared_expert_gate", "lm_head")
          .map(name -> Pattern.compile("(^|\\.)" + name + "$"))
          .toList();

  /**
   * An exception.
   *
   * @param pattern found anywhere in the full path of a linear
   * @param scheme what it gets
   */
  public record Rule(Pattern pattern, Scheme scheme) {}

  /** Copies the lists. */
  public SchemeRules {
    ignore = List.copyOf(ignore);
    rules = List.copyOf(rules);
  }

  /** One scheme for every linear but routers and heads. */
  public static SchemeRules all(Scheme scheme) {
    return new SchemeRules(scheme, ALWAYS_IGNORED, List.of());
  }

  /** The same with another base. */
  public SchemeRules withBase(Scheme scheme) {
    return new SchemeRules(scheme, ignore, rules);
  }

  /** The same with one more pattern of linears to leave alone. */
  public SchemeRules ignoring(String regex) {
    return new SchemeRules(base, and(ignore, Pattern.compile(regex)), rules);
  }

  /** The same with one more exception. */
  public SchemeRules with(String regex, Scheme scheme) {
    return new SchemeRules(base, ignore, and(rules, new Rule(Pattern.compile(regex), scheme)));
  }

  private static <T> List<T> and(List<T> some, T more) {
    return Stream.concat(some.stream(), Stream.of(more)).toList();
  }

  /** The scheme of a linear, or null if it stays in floating point. */
  public Scheme schemeOf(String name) {
    if (ignore.stream().anyMatch(pattern -> pattern.matcher(name).find())) {
      return null;
    }
    Stream<Rule> found = rules.stream().filter(rule -> rule.pattern().matcher(name).find());
    return found.map(Rule::scheme).findFirst().orElse(base);
  }

  /** The scheme of a linear that will be quantized. */
  Scheme schemeOf(Target target) {
    return schemeOf(target.name());
  }

  /** The linears of a layer that have a scheme, in the order of the tree. */
  List<Target> targets(String prefix, Module layer) {
    List<Target> found = new ArrayList<>();
    layer.visit(
        (path, module) -> {
          String name = prefix.isEmpty() || path.isEmpty() ? prefix + path : prefix + "." + path;
          if (module instanceof Linear linear && schemeOf(name) != null) {
            if (path.isEmpty()) {
              throw new IllegalArgumentException(
                  name + " is itself a linear; put it into a block, where it has a place");
            }
            found.add(new Target(name, layer.place(path), linear));
          }
        });
    return found;
  }
}
