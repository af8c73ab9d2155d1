package fqt.models.tokenizer;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.regex.Pattern;

/** Finds added tokens in a text: the leftmost, of several there the longest. */
final class AddedTokens {
  /** What word characters are to {@link AddedToken#singleWord}. */
  private static final Pattern WORD = Pattern.compile("\\w", Pattern.UNICODE_CHARACTER_CLASS);

  /** Receives the parts of a text in order. */
  interface Receiver {
    /** Text without added tokens, never empty. */
    void text(String part);

    /** An added token. */
    void token(int id);
  }

  private final List<AddedToken> tokens;

  /** A trie: (node, character) to node; node 0 is the root. */
  private final PairMap children;

  /** Of each node, the token that ends there, or null. */
  private final List<AddedToken> ends = new ArrayList<>();

  private final BitSet firstChars = new BitSet();

  AddedTokens(List<AddedToken> tokens) {
    this.tokens = tokens;
    children = new PairMap(tokens.stream().mapToInt(token -> token.content().length()).sum());
    ends.add(null);
    for (AddedToken token : tokens) {
      insert(token);
    }
  }

  private void insert(AddedToken token) {
    int node = 0;
    for (int i = 0; i < token.content().length(); i++) {
      long key = PairMap.pair(node, token.content().charAt(i));
      long child = children.get(key);
      if (child < 0) {
        child = ends.size();
        children.put(key, child);
        ends.add(null);
      }
      node = (int) child;
    }
    ends.set(node, token);
    firstChars.set(token.content().charAt(0));
  }

  /** Cuts a text at its added tokens. */
  void split(String text, Receiver receiver) {
    int done = 0;
    int from = 0;
    while (!tokens.isEmpty() && from < text.length()) {
      AddedToken token = firstChars.get(text.charAt(from)) ? longestAt(text, from) : null;
      if (token == null) {
        from++;
        continue;
      }
      int to = from + token.content().length();
      if (!token.singleWord() || standsAlone(text, from, to)) {
        int start = token.leftStrip() ? spacesBefore(text, done, from) : from;
        int stop = token.rightStrip() ? spacesAfter(text, to) : to;
        if (start > done) {
          receiver.text(text.substring(done, start));
        }
        receiver.token(token.id());
        done = stop;
      }
      from = Math.max(to, done);
    }
    if (done < text.length()) {
      receiver.text(text.substring(done));
    }
  }

  private AddedToken longestAt(String text, int from) {
    AddedToken longest = null;
    long node = 0;
    for (int i = from; i < text.length(); i++) {
      node = children.get(PairMap.pair((int) node, text.charAt(i)));
      if (node < 0) {
        break;
      }
      AddedToken end = ends.get((int) node);
      longest = end == null ? longest : end;
    }
    return longest;
  }

  private static boolean standsAlone(String text, int from, int to) {
    boolean wordBefore = from > 0 && isWord(text.codePointBefore(from));
    boolean wordAfter = to < text.length() && isWord(text.codePointAt(to));
    return !wordBefore && !wordAfter;
  }

  private static boolean isWord(int point) {
    return WORD.matcher(Character.toString(point)).matches();
  }

  private static int spacesBefore(String text, int least, int from) {
    int at = from;
    while (at > least && Splitter.isSpace(text.charAt(at - 1))) {
      at--;
    }
    return at;
  }

  private static int spacesAfter(String text, int from) {
    int at = from;
    while (at < text.length() && Splitter.isSpace(text.charAt(at))) {
      at++;
    }
    return at;
  }
}
