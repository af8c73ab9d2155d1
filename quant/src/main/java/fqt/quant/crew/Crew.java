package fqt.quant.crew;

import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;

/**
 * Devices that quantize a layer together: on each, a thread runs the same code over its share of
 * the calibration samples, and where results must meet, the threads exchange them.
 *
 * <p>Samples are cut into {@value #CHUNKS} chunks whatever the number of devices. Sums over samples
 * are made chunk by chunk and then joined in the order of the chunks, so that they are the same
 * bits on one device and on several.
 */
public final class Crew {
  /** How many pieces the samples are cut into; no more devices than that share the work. */
  public static final int CHUNKS = 8;

  /**
   * What one device does. It is told its place in the crew.
   *
   * @param crew those it works with
   * @param rank its place, from 0
   */
  public record Member(Crew crew, int rank) {
    /** {@return where this member computes} */
    public Device device() {
      return crew.devices.get(rank);
    }

    /** {@return how many members there are} */
    public int size() {
      return crew.devices.size();
    }

    /** {@return whether this is the member that speaks for all: writes files, reports} */
    public boolean leads() {
      return rank == 0;
    }

    /** {@return how many chunks it has} */
    public int chunks() {
      return firstChunk(rank + 1) - firstChunk(rank);
    }

    private int firstChunk(int member) {
      return Math.ceilDiv(member * CHUNKS, size());
    }

    /**
     * {@return the first of its samples} The chunks of a member lie side by side.
     *
     * @param samples how many there are on all devices together
     */
    public int from(int samples) {
      return first(rank, samples);
    }

    /**
     * {@return the first sample after its own}
     *
     * @param samples how many there are on all devices together
     */
    public int to(int samples) {
      return first(rank + 1, samples);
    }

    /** The first sample of the first chunk that belongs to a member. */
    private int first(int member, int samples) {
      return Math.toIntExact(Math.ceilDiv((long) firstChunk(member) * samples, CHUNKS));
    }

    /**
     * {@return which of its samples, counted from its first, belong to some spread evenly over all}
     *
     * @param count how many are spread over all
     * @param samples how many there are on all devices together
     */
    public BitSet spread(int count, int samples) {
      BitSet chosen = new BitSet();
      for (long i = 0; i < count; i++) {
        int sample = (int) (i * samples / count);
        if (sample >= from(samples) && sample < to(samples)) {
          chosen.set(sample - from(samples));
        }
      }
      return chosen;
    }

    /**
     * {@return whether this member does a piece of work that one of them does for all}
     *
     * @param piece number of the piece, from 0
     */
    public boolean does(int piece) {
      return piece % size() == rank;
    }

    /**
     * Hands something over and takes what all members handed over, in their order. Everything stays
     * valid until {@link #done}, which every member calls when it has taken what it needs.
     *
     * @param <T> what is handed over
     * @param own what this member gives; not null
     * @return what all gave, in the order of the members
     */
    @SuppressWarnings("unchecked") // every member exchanges the same type at the same place
    public <T> List<T> exchange(T own) {
      if (size() == 1) {
        return List.of(own);
      }
      crew.slots[rank] = own;
      crew.meet();
      List<T> all = new ArrayList<>();
      for (Object slot : crew.slots) {
        all.add((T) slot);
      }
      crew.meet();
      return all;
    }

    /**
     * {@return the sum of what all members hand over}
     *
     * @param own what this member gives
     */
    public long sum(long own) {
      return exchange(own).stream().mapToLong(Long::longValue).sum();
    }

    /**
     * All pieces of a work of which every member did its own.
     *
     * @param <T> what a piece of work results in
     * @param own what this member did, by number
     * @param pieces how many there are on all devices together
     * @param map gives what another did with each of its tensors changed: copied to this member's
     *     device
     * @return in the order of the numbers
     */
    public <T> List<T> gather(
        Map<Integer, T> own, int pieces, BiFunction<T, UnaryOperator<Tensor>, T> map) {
      Map<Integer, T> all = new TreeMap<>(own);
      for (Map<Integer, T> some : exchange(own)) {
        if (some != own) {
          some.forEach((piece, done) -> all.put(piece, map.apply(done, this::copy)));
        }
      }
      done();
      if (all.size() != pieces) {
        throw new IllegalStateException(all.size() + " of " + pieces + " pieces were done");
      }
      return List.copyOf(all.values());
    }

    private Tensor copy(Tensor x) {
      return x.device().equals(device()) ? Ops.copy(x) : Ops.to(x, device());
    }

    /** Waits until every member has come here. */
    public void done() {
      if (size() > 1) {
        crew.meet();
      }
    }
  }

  private final List<Device> devices;
  private final Object[] slots;
  private int waiting;
  private long meetings;
  private boolean broken;

  /**
   * A crew, one member a device; a device that is named twice has two members.
   *
   * @param devices 1 to {@value #CHUNKS} of them
   * @throws IllegalArgumentException if there is no device, or there are more than chunks
   */
  public Crew(List<Device> devices) {
    if (devices.isEmpty() || devices.size() > CHUNKS) {
      throw new IllegalArgumentException(
          "%d devices; expected 1 to %d".formatted(devices.size(), CHUNKS));
    }
    this.devices = List.copyOf(devices);
    this.slots = new Object[devices.size()];
  }

  /**
   * {@return the only member of a crew}
   *
   * @param device where it computes
   */
  public static Member alone(Device device) {
    return new Member(new Crew(List.of(device)), 0);
  }

  /** {@return the members, in the order of the devices} */
  public List<Member> members() {
    List<Member> members = new ArrayList<>();
    for (int i = 0; i < devices.size(); i++) {
      members.add(new Member(this, i));
    }
    return members;
  }

  /**
   * {@return the chunk of a sample, 0 to 7}
   *
   * @param sample its number on all devices together, from 0
   * @param samples how many there are on all devices together
   */
  public static int chunk(int sample, int samples) {
    return (int) ((long) sample * CHUNKS / samples);
  }

  /**
   * Runs the same work as every member, the first on the calling thread, and waits for all. If one
   * fails, the others stop where they next meet, and the failure is thrown here.
   *
   * @param work what a member does; all of them exchange the same things in the same order
   */
  public void run(Consumer<Member> work) {
    waiting = 0;
    broken = false;
    Throwable[] failures = new Throwable[devices.size()];
    List<Thread> threads = new ArrayList<>();
    for (Member member : members()) {
      if (!member.leads()) {
        threads.add(
            Thread.ofPlatform()
                .name("quantizes on " + member.device())
                .start(() -> run(work, member, failures)));
      }
    }
    run(work, members().getFirst(), failures);
    for (Thread thread : threads) {
      join(thread);
    }
    throwFirst(failures);
  }

  private void run(Consumer<Member> work, Member member, Throwable[] failures) {
    try {
      work.accept(member);
    } catch (RuntimeException | Error e) {
      failures[member.rank()] = e;
      leave();
    }
  }

  private static void join(Thread thread) {
    boolean interrupted = Thread.interrupted();
    while (thread.isAlive()) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** Another one has failed, and says why. */
  private static final class Left extends RuntimeException {
    private static final long serialVersionUID = 1;

    Left() {
      super("another device of the crew has failed");
    }
  }

  /** Returns when every member is here; fails if one will not come. */
  private synchronized void meet() {
    long now = meetings;
    if (broken) {
      throw new Left();
    }
    if (++waiting == devices.size()) {
      waiting = 0;
      meetings++;
      notifyAll();
      return;
    }
    while (meetings == now && !broken) {
      try {
        wait();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        broken = true;
        notifyAll();
      }
    }
    if (meetings == now) {
      throw new Left();
    }
  }

  private synchronized void leave() {
    broken = true;
    notifyAll();
  }

  private static void throwFirst(Throwable[] failures) {
    Throwable first = null;
    for (Throwable failure : failures) {
      if (failure != null && (first == null || first instanceof Left)) {
        first = failure;
      }
    }
    if (first instanceof RuntimeException exception) {
      throw exception;
    }
    if (first != null) {
      throw (Error) first;
    }
  }
}
