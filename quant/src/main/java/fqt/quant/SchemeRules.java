package fqt.quant;

import fqt.nn.Linear;
import fqt.nn.Module;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.regex.Pattern;

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
      List.of(
          Pattern.compile("(^|\\.)gate$"),
          Pattern.compile("(^|\\.)shared_expert_gate$"),
          Pattern.compile("(^|\\.)lm_head$"));

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
    List<Pattern> more = new ArrayList<>(ignore);
    more.add(Pattern.compile(regex));
    return new SchemeRules(base, more, rules);
  }

  /** The same with one more exception. */
  public SchemeRules with(String regex, Scheme scheme) {
    List<Rule> more = new ArrayList<>(rules);
    more.add(new Rule(Pattern.compile(regex), scheme));
    return new SchemeRules(base, ignore, more);
  }

  /** The scheme of a linear, or null if it stays in floating point. */
  public Scheme schemeOf(String name) {
    for (Pattern pattern : ignore) {
      if (pattern.matcher(name).find()) {
        return null;
      }
    }
    for (Rule rule : rules) {
      if (rule.pattern().matcher(name).find()) {
        return rule.scheme();
      }
    }
    return base;
  }

  /**
   * The linears of a layer that have a scheme, by their path within the layer, in the order of the
   * tree.
   */
  SequencedMap<String, Target> targets(String prefix, Module layer) {
    SequencedMap<String, Target> found = new LinkedHashMap<>();
    layer.visit(
        (path, module) -> {
          if (module instanceof Linear linear) {
            String name = join(prefix, path);
            Scheme scheme = schemeOf(name);
            if (scheme != null && path.isEmpty()) {
              throw new IllegalArgumentException(
                  name + " is itself a linear; put it into a block, where it has a place");
            }
            if (scheme != null) {
              found.put(path, new Target(name, layer.place(path), linear, scheme));
            }
          }
        });
    return found;
  }

  private static String join(String prefix, String path) {
    return prefix.isEmpty() ? path : prefix + "." + path;
  }

  /**
   * A linear that will be quantized.
   *
   * @param name full path
   * @param place where its successor goes
   * @param linear what stands there
   * @param scheme what it gets
   */
  record Target(String name, Module.Child place, Linear linear, Scheme scheme) {}
}
