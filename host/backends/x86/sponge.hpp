// Sponges side by side. A state of W lanes holds word w of lane l at words[w][l], W = 4 or 8; messages enter and leave
// through 4 x 4 transpositions of 64-bit words, once each. The last template argument K names the instruction set: it
// has `lanes` = W and permute(state, active), which may leave lanes from `active` on as they are.
#pragma once

#include <immintrin.h>

#include "host/backends/x86/codec.hpp"
#include "host/backends/x86/keccak.hpp"

namespace warpkem::simd {
namespace {

constexpr int shake128_rate = 168 / 8, shake256_rate = 136 / 8, sha3_256_rate = 136 / 8, sha3_512_rate = 72 / 8;
constexpr u64 sha3_padding = 0x06, shake_padding = 0x1f;  // domain and first bit of padding
constexpr u64 last_bit = u64{1} << 63;

template <int W>
struct alignas(64) LaneStates {
  u64 words[25][W];
};

// Word i of vector j becomes word j of vector i.
[[gnu::always_inline]] inline void transpose_4x4(Vector& a, Vector& b, Vector& c, Vector& d) {
  const Vector ab_even = _mm256_unpacklo_epi64(a, b), ab_odd = _mm256_unpackhi_epi64(a, b);
  const Vector cd_even = _mm256_unpacklo_epi64(c, d), cd_odd = _mm256_unpackhi_epi64(c, d);
  a = _mm256_permute2x128_si256(ab_even, cd_even, 0x20);
  b = _mm256_permute2x128_si256(ab_odd, cd_odd, 0x20);
  c = _mm256_permute2x128_si256(ab_even, cd_even, 0x31);
  d = _mm256_permute2x128_si256(ab_odd, cd_odd, 0x31);
}

[[gnu::always_inline]] inline u64 load_word(const u8* p) {
  u64 w;
  __builtin_memcpy(&w, p, 8);
  return w;
}

[[gnu::always_inline]] inline Vector gather_words(const u8* const* p, int offset) {
  return _mm256_set_epi64x(
      static_cast<long long>(load_word(p[3] + offset)), static_cast<long long>(load_word(p[2] + offset)),
      static_cast<long long>(load_word(p[1] + offset)), static_cast<long long>(load_word(p[0] + offset)));
}

// A sponge for `active` lanes, 1 <= active <= W. Absorbs whole words: every message of ML-KEM but the two short ones,
// whose last bytes are part of their last word here, has a length that is a multiple of 8.
template <class K>
class Sponge {
 public:
  static constexpr int W = K::lanes;

  [[gnu::always_inline]] Sponge(LaneStates<W>& state, int rate, int active) noexcept
      : state_(state), rate_(rate), active_(active), quads_((active + 3) / 4) {
    const Vector zero = _mm256_setzero_si256();
    for (int w = 0; w < 25; ++w) {
      for (int l = 0; l < W; l += 4) store(&state_.words[w][l], zero);
    }
  }

  // One that goes on from `state`, where whole blocks were absorbed in all lanes.
  [[gnu::always_inline]] Sponge(LaneStates<W>& state, int rate, int active, const LaneStates<W>& from) noexcept
      : state_(state), rate_(rate), active_(active), quads_((active + 3) / 4) {
    state_ = from;
  }

  // `count` words of each of W messages; message l at p[l].
  [[gnu::always_inline]] void absorb(const u8* const* p, int count) noexcept {
    int done = 0;
    while (done < count) {
      if (at_ == rate_) {
        K::permute(state_, active_);
        at_ = 0;
      }
      const int room = rate_ - at_ < count - done ? rate_ - at_ : count - done;
      int w = 0;
      for (; w + 4 <= room; w += 4) {
        for (int quad = 0; quad < quads_; ++quad) absorb_4(p + 4 * quad, 8 * (done + w), at_ + w, 4 * quad);
      }
      for (; w < room; ++w) {
        for (int quad = 0; quad < quads_; ++quad) {
          add(at_ + w, 4 * quad, gather_words(p + 4 * quad, 8 * (done + w)));
        }
      }
      done += room;
      at_ += room;
    }
  }

  // One word, the same in all lanes.
  [[gnu::always_inline]] void absorb_word(u64 word) noexcept {
    for (int l = 0; l < W; l += 4) add(at_, l, _mm256_set1_epi64x(static_cast<long long>(word)));
    ++at_;
  }
  // One word, different ones.
  [[gnu::always_inline]] void absorb_words(const u64 (&word)[W]) noexcept {
    for (int l = 0; l < W; l += 4) add(at_, l, load(word + l));
    ++at_;
  }

  // Ends a message of whole words.
  [[gnu::always_inline]] void finish(u64 padding) noexcept {
    if (at_ == rate_) {
      K::permute(state_, active_);
      at_ = 0;
    }
    absorb_word(padding);
    close();
  }
  // The same with different last words, which have the padding behind their bytes.
  [[gnu::always_inline]] void finish(const u64 (&last)[W]) noexcept {
    if (at_ == rate_) {
      K::permute(state_, active_);
      at_ = 0;
    }
    absorb_words(last);
    close();
  }
  // Ends a message whose last word had the padding behind its bytes already.
  [[gnu::always_inline]] void close() noexcept {
    at_ = rate_ - 1;
    absorb_word(last_bit);
    K::permute(state_, active_);
  }

  // `count` words of each lane, which are within the rate, to p[l]; writes up to 3 words more.
  [[gnu::always_inline]] void copy_out(u8* const* p, int count) const noexcept {
    for (int w = 0; w < count; w += 4) {
      for (int quad = 0; quad < quads_; ++quad) {
        const auto* from = &state_.words[w][4 * quad];
        Vector a = load(from), b = load(from + W), c = load(from + 2 * W), d = load(from + 3 * W);
        transpose_4x4(a, b, c, d);
        store(p[4 * quad] + 8 * w, a);
        store(p[4 * quad + 1] + 8 * w, b);
        store(p[4 * quad + 2] + 8 * w, c);
        store(p[4 * quad + 3] + 8 * w, d);
      }
    }
  }

  [[gnu::always_inline]] void next_block() noexcept { K::permute(state_, active_); }

 private:
  [[gnu::always_inline]] void add(int word, int lane, Vector v) noexcept {
    store(&state_.words[word][lane], _mm256_xor_si256(load(&state_.words[word][lane]), v));
  }
  [[gnu::always_inline]] void absorb_4(const u8* const* p, int offset, int word, int lane) noexcept {
    Vector a = load(p[0] + offset), b = load(p[1] + offset), c = load(p[2] + offset), d = load(p[3] + offset);
    transpose_4x4(a, b, c, d);
    add(word, lane, a), add(word + 1, lane, b), add(word + 2, lane, c), add(word + 3, lane, d);
  }

  LaneStates<W>& state_;
  int rate_, active_, quads_;
  int at_ = 0;
};

}  // namespace
}  // namespace warpkem::simd
