package fqt.quant;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.quant.crew.Crew;
import fqt.tensor.Device;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Threads that share samples and exchange results. */
@Timeout(60)
class CrewTest {
  private static Crew crew(int members) {
    return new Crew(Collections.nCopies(members, Device.CPU));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 5, 8})
  void everySampleBelongsToOneMemberAndChunksStayWhole(int members) {
    for (int samples : new int[] {8, 9, 17, 64, 127, 128}) {
      int next = 0;
      int lastChunk = -1;
      for (Crew.Member member : crew(members).members()) {
        assertEquals(next, member.from(samples));
        next = member.to(samples);
        assertTrue(next > member.from(samples), "every member has samples");
        assertTrue(Crew.chunk(member.from(samples), samples) > lastChunk, "no chunk is shared");
        lastChunk = Crew.chunk(next - 1, samples);
      }
      assertEquals(samples, next);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 8})
  void whatIsExchangedArrivesInTheOrderOfTheMembers(int members) {
    List<List<String>> taken = Collections.synchronizedList(new ArrayList<>());
    crew(members)
        .run(
            member -> {
              for (int round = 0; round < 50; round++) {
                List<String> all = member.exchange(round + "." + member.rank());
                for (int i = 0; i < members; i++) {
                  assertEquals(round + "." + i, all.get(i));
                }
                member.done();
              }
              taken.add(member.exchange("end"));
            });
    assertEquals(members, taken.size());
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 8})
  void everyMemberGathersWhatEachHasDone(int members) {
    crew(members)
        .run(
            member -> {
              Map<Integer, String> own = new HashMap<>();
              List<String> expected = new ArrayList<>();
              for (int piece = 0; piece < 7; piece++) {
                if (member.does(piece)) {
                  own.put(piece, "piece " + piece);
                }
                expected.add((member.does(piece) ? "piece " : "copy of piece ") + piece);
              }
              assertEquals(expected, member.gather(own, 7, (done, device) -> "copy of " + done));
              assertThrows(
                  IllegalStateException.class, () -> member.gather(own, 8, (done, device) -> done));
            });
  }

  @Test
  void aFailureStopsTheOthersAndIsThrown() {
    Crew crew = crew(3);
    for (int failing = 0; failing < 3; failing++) {
      int bad = failing;
      IllegalStateException failed =
          assertThrows(
              IllegalStateException.class,
              () ->
                  crew.run(
                      member -> {
                        member.exchange("first");
                        if (member.rank() == bad) {
                          throw new IllegalStateException("member " + bad);
                        }
                        member.exchange("second");
                        member.done();
                      }));
      assertEquals("member " + bad, failed.getMessage());
    }
    crew.run(member -> assertEquals(3, member.exchange(0).size()));
  }
}
