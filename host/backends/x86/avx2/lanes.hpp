// Keccak in the lanes of AVX2: twice four states, four, or one.
#pragma once

#include <immintrin.h>

#include "host/backends/x86/sponge.hpp"

namespace warpkem::simd {
namespace {

struct Word4 {
  using Word = __m256i;
  static Word load(const u64* p) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(p)); }
  static void store(u64* p, Word v) { _mm256_store_si256(reinterpret_cast<__m256i*>(p), v); }
  static Word xor2(Word a, Word b) { return _mm256_xor_si256(a, b); }
  static Word xor5(Word a, Word b, Word c, Word d, Word e) { return xor2(xor2(xor2(a, b), xor2(c, d)), e); }
  template <int r>
  static Word rotl(Word a) {
    if constexpr (r == 0) {
      return a;
    } else if constexpr (r == 8 || r == 56) {  // whole bytes: one instruction in place of three
      const __m128i order = r == 8 ? _mm_set_epi8(14, 13, 12, 11, 10, 9, 8, 15, 6, 5, 4, 3, 2, 1, 0, 7)
                                   : _mm_set_epi8(8, 15, 14, 13, 12, 11, 10, 9, 0, 7, 6, 5, 4, 3, 2, 1);
      return _mm256_shuffle_epi8(a, _mm256_broadcastsi128_si256(order));
    } else if constexpr (r == 1) {  // an addition is done in any of the vector units, a shift only in some
      return _mm256_or_si256(_mm256_add_epi64(a, a), _mm256_srli_epi64(a, 63));
    } else {
      return _mm256_or_si256(_mm256_slli_epi64(a, r), _mm256_srli_epi64(a, 64 - r));
    }
  }
  static Word chi(Word a, Word b, Word c) { return xor2(a, _mm256_andnot_si256(b, c)); }
  static Word xor_constant(Word a, u64 constant) {
    return xor2(a, _mm256_set1_epi64x(static_cast<long long>(constant)));
  }
};

struct Avx2 {
  static constexpr int lanes = 8;

  // Of one state, four, or twice four: 64-bit registers do one in two thirds of the time that four take.
  [[gnu::noinline]] static void permute(LaneStates<lanes>& state, int active) noexcept {
    if (active == 1) {
      keccak_f1600<Word1, lanes>(state.words[0]);
    } else if (active <= 4) {
      keccak_f1600<Word4, lanes>(state.words[0]);
    } else {
      keccak_f1600_of_two<Word4>(state.words[0]);
    }
  }

  static void wipe_registers() noexcept { _mm256_zeroall(); }
};

}  // namespace
}  // namespace warpkem::simd
