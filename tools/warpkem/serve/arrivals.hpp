// When the requests of an open loop are due.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <random>
#include <semaphore>
#include <vector>

namespace warpkem::tool {

// Arrivals for all producers together. The producers take turns: the one whose turn it is watches the clock and
// submits what has become due. To wake a thread takes longer than an encapsulation. So the producer naps instead of
// waking for every request, and turns are long. Latencies count from when a request was due.
class Arrivals {
 public:
  static constexpr std::uint64_t nap_ns = 40'000;

  // `bound`: of the engine's queue.
  Arrivals(double rate, std::size_t bound, std::uint64_t seed, std::size_t producers);

  // A producer that leaves the loop, for whatever reason, ends it for all. Otherwise a turn could go to one that left.
  void close();
  // To be asked when a turn begins. After close() several producers may have a turn at once.
  bool closed() const { return closed_.load(); }

  // The producer's turn; it ends with the object.
  class Turn {
   public:
    Turn(Arrivals& arrivals, std::size_t producer);
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn();
    bool is_over() const;

    // Waits until requests are due, though not for long, and takes up to `most` of them. A submission holds `full`.
    // `refused`: the engine refused the last ones, so to come again at once with fewer is no use.
    void take(std::size_t most, std::size_t full, bool refused, std::vector<std::uint64_t>& due);

   private:
    Arrivals& arrivals_;
    const std::size_t producer_;
    std::uint64_t end_ns_;
  };

 private:
  // The pause after a refusal. The requests that come meanwhile fill at most a quarter of the queue, so the engine
  // never runs dry.
  const std::uint64_t patience_ns_;
  std::deque<std::counting_semaphore<>> turns_;
  std::atomic<bool> closed_{false};
  // The rest belongs to the producer whose turn it is.
  std::mt19937_64 random_;
  std::exponential_distribution<> gap_;
  double next_ = 0;
  std::uint64_t last_ = 0;  // when the clock was last read; 0: requests are overdue
};

}  // namespace warpkem::tool
