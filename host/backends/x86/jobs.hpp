// Sponges of different lengths side by side, for groups that do not fill the lanes: while a lane or two hash a key or a
// ciphertext block after block, the others sample entries of A, each beginning the next when it has finished one. Words
// go in and out one by one here; full groups go through sponge.hpp.
#pragma once

#include "host/backends/x86/sample.hpp"
#include "host/backends/x86/sponge.hpp"

namespace warpkem::simd {
namespace {

// SampleNTT to `entry`, or else 32 bytes of H or J to `hash`, of a message of two pieces of whole words and one more
// word, which holds the padding.
struct Job {
  const u8* piece[2];
  int words[2];
  u64 last;
  MatrixEntry* entry;
  u8* hash;

  int rate() const noexcept { return entry != nullptr ? shake128_rate : shake256_rate; }
  int permutations() const noexcept { return entry != nullptr ? 3 : (words[0] + words[1]) / shake256_rate + 1; }
};
static_assert(shake256_rate == sha3_256_rate);

template <class K>
class Jobs {
 public:
  static constexpr int W = K::lanes;
  using Buffers = u8[W][xof_bytes + 72];

  Jobs(LaneStates<W>& state, Buffers& buffers) noexcept : state_(state) {
    for (int l = 0; l < W; ++l) lanes_[l].buffer = buffers[l];
  }

  // The longest first.
  [[gnu::noinline]] void run(const Job* jobs, int count) noexcept {
    int total = 0;
    for (int i = 0; i < count; ++i) total += jobs[i].permutations();
    // Eight lanes cost nearly twice what four do: not worth it where one job takes so long that they would soon idle.
    const int width = W > 4 && jobs[0].permutations() * W > total ? 4 : W;
    int next = 0, active = 0;
    while (active < width && next < count) begin(active++, jobs[next++]);
    while (active > 0) {
      for (int l = 0; l < active; ++l) absorb(l);
      K::permute(state_, active);
      for (int l = 0; l < active;) {
        if (!squeeze(l)) {
          ++l;
        } else if (next < count) {
          begin(l++, jobs[next++]);
        } else {
          move(--active, l);  // whose turn it is now
        }
      }
    }
  }

 private:
  struct Lane {
    const Job* job;
    u8* buffer;
    int absorbed;  // words
    bool squeezing;
    int blocks, have;
  };

  void begin(int l, const Job& job) noexcept {
    lanes_[l] = {&job, lanes_[l].buffer, 0, false, 0, 0};
    for (auto& word : state_.words) word[l] = 0;
  }

  void move(int from, int to) noexcept {
    if (from == to) return;
    for (auto& word : state_.words) word[to] = word[from];
    const Lane lane = lanes_[to];
    lanes_[to] = lanes_[from];
    lanes_[from] = lane;  // for its buffer
  }

  void absorb(int l) noexcept {
    Lane& lane = lanes_[l];
    if (lane.squeezing) return;
    const Job& job = *lane.job;
    const int first = job.words[0], all_words = first + job.words[1], rate = job.rate();
    for (int at = 0; at < rate; ++at, ++lane.absorbed) {
      if (lane.absorbed == all_words) {
        state_.words[at][l] ^= job.last;
        state_.words[rate - 1][l] ^= last_bit;
        lane.squeezing = true;
        return;
      }
      state_.words[at][l] ^= load_word(lane.absorbed < first ? job.piece[0] + 8 * lane.absorbed
                                                             : job.piece[1] + 8 * (lane.absorbed - first));
    }
  }

  // Whether the lane's job is done.
  bool squeeze(int l) noexcept {
    Lane& lane = lanes_[l];
    if (!lane.squeezing) return false;
    const Job& job = *lane.job;
    if (job.entry == nullptr) {
      copy(l, 4, job.hash);
      return true;
    }
    copy(l, shake128_rate, lane.buffer + (lane.blocks < 3 ? 168 * lane.blocks : 0));
    if (++lane.blocks < 3) return false;
    lane.have = lane.blocks == 3 ? SampleNTT_first_blocks(lane.buffer, *job.entry)
                                 : SampleNTT_next_block(lane.buffer, *job.entry, lane.have);
    return lane.have >= n;
  }

  void copy(int l, int words, u8* to) const noexcept {
    for (int w = 0; w < words; ++w) __builtin_memcpy(to + 8 * w, &state_.words[w][l], 8);
  }

  LaneStates<W>& state_;
  Lane lanes_[W];
};

}  // namespace
}  // namespace warpkem::simd
