package fqt.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;

import fqt.nn.Module;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** A model that keeps its weights packed computes what it computed before. */
class FrozenModelTest {
  @Test
  void everyPassGivesTheSameBits() {
    var config = RandomCheckpoint.config("qwen2");
    try (Scope scope = Scope.open()) {
      Tensor ids = Fixtures.ids(new Random(1), 50, 2, 33);
      float[] expected;
      try (CausalLm model = RandomCheckpoint.model(config, 1)) {
        expected = model.forward(ids).toFloats();
        assertNull(weight(model).storage().derived());
      }
      try (CausalLm model = RandomCheckpoint.model(config, 1)) {
        model.freeze();
        for (int pass = 0; pass < 3; pass++) {
          assertArrayEquals(expected, model.forward(ids).toFloats(), "pass " + pass);
        }
        assertNotNull(weight(model).storage().derived());
      }
    }
  }

  private static Tensor weight(CausalLm model) {
    Module up = model.layers().getFirst().find("mlp.up_proj");
    return up.parameters().get("weight");
  }
}
