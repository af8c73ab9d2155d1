package fqt.models.tokenizer;

import java.util.Arrays;

/** An int array that grows. */
final class IntList {
  private int[] values;
  private int size;

  IntList(int capacity) {
    values = new int[Math.max(16, capacity)];
  }

  void add(int value) {
    reserve(1);
    values[size++] = value;
  }

  void addAll(int[] more) {
    reserve(more.length);
    for (int value : more) {
      values[size++] = value;
    }
  }

  private void reserve(int more) {
    if (size + more > values.length) {
      values = Arrays.copyOf(values, Math.max(size + more, size + (size >> 1)));
    }
  }

  int[] toArray() {
    return Arrays.copyOf(values, size);
  }
}
