// SampleNTT and SamplePolyCBD, FIPS 203 Algorithms 7 and 8, from bytes that a sponge gave.
#pragma once

#include <immintrin.h>

#include "host/backends/x86/codec.hpp"

namespace warpkem::simd {
namespace {

// SampleNTT's output with room behind it for what three blocks may give too much, and for the last store.
struct alignas(64) MatrixEntry {
  i16 c[n + 96];
};
constexpr int entry_stride = sizeof(MatrixEntry) / sizeof(i16);
constexpr int xof_bytes = 3 * 168;  // enough for all but 0.8 % of the entries

// Moves the candidates below q to the front, 16 at a time, and says how many coefficients there are now. Public data
// only, hence indices and counts that depend on it. Three blocks take no branch: 336 candidates fit the entry.
[[gnu::always_inline]] inline int take_below_q(const u8* in, i16* c, int have) {
  const Vector x = unpack_12(in);
  const Vector good = _mm256_cmpgt_epi16(all(q), x);
  const u32 mask = static_cast<u32>(_mm256_movemask_epi8(_mm256_packs_epi16(good, good)));
  const u32 low = mask & 0xff, high = mask >> 24;
  store_16_bytes(c + have, _mm_shuffle_epi8(low_half(x), load_16_bytes(vector_tables.compact[low])));
  have += __builtin_popcount(low);
  store_16_bytes(c + have, _mm_shuffle_epi8(high_half(x), load_16_bytes(vector_tables.compact[high])));
  return have + __builtin_popcount(high);
}

[[gnu::noinline]] int SampleNTT_first_blocks(const u8* bytes, MatrixEntry& entry) {
  int have = 0;
#pragma GCC unroll 3
  for (int i = 0; i < xof_bytes; i += 24) have = take_below_q(bytes + i, entry.c, have);
  return have;
}

// One more block for an entry that still lacks some.
[[gnu::noinline]] int SampleNTT_next_block(const u8* bytes, MatrixEntry& entry, int have) {
  for (int i = 0; i < 168 && have < n; i += 24) have = take_below_q(bytes + i, entry.c, have);
  return have;
}

// 16 signed bytes to 16 coefficients.
[[gnu::always_inline]] inline void store_widened(i16* to, __m128i bytes) { store(to, _mm256_cvtepi8_epi16(bytes)); }

// |f_i| <= eta. For eta = 3 it reads 4 bytes beyond the 192. Tables are shuffles within a register: no address depends
// on the bytes.
template <int eta>
[[gnu::noinline]] void SamplePolyCBD(const u8* bytes, Poly& f) {
  if constexpr (eta == 2) {
    // (b0 + b1) - (b2 + b3) for each nibble b3 b2 b1 b0.
    const Vector difference =
        _mm256_broadcastsi128_si256(_mm_set_epi8(0, -1, -1, -2, 1, 0, 0, -1, 1, 0, 0, -1, 2, 1, 1, 0));
    const Vector nibble = _mm256_set1_epi8(0x0f);
    for (int i = 0; i < n; i += 64) {
      const Vector x = load(bytes + i / 2);
      const Vector even = _mm256_shuffle_epi8(difference, _mm256_and_si256(x, nibble));
      const Vector odd = _mm256_shuffle_epi8(difference, _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble));
      const Vector low = _mm256_unpacklo_epi8(even, odd), high = _mm256_unpackhi_epi8(even, odd);
      store_widened(f.c + i, low_half(low));
      store_widened(f.c + i + 16, low_half(high));
      store_widened(f.c + i + 32, high_half(low));
      store_widened(f.c + i + 48, high_half(high));
    }
  } else {
    static_assert(eta == 3);
    // 6 bits to each 16-bit lane, at its top; then 3 bits to each byte, whose sums a shuffle looks up.
    const __m128i order = _mm_set_epi8(5, 5, 5, 4, 4, 3, 4, 3, 2, 2, 2, 1, 1, 0, 1, 0);
    const Vector both = two(order, _mm_add_epi8(order, _mm_set1_epi8(6)));
    const Vector to_top = _mm256_set1_epi64x(0x0100004000100400);
    const Vector sum = _mm256_broadcastsi128_si256(_mm_set_epi8(3, 2, 2, 1, 2, 1, 1, 0, 3, 2, 2, 1, 2, 1, 1, 0));
    for (int i = 0; i < n; i += 16) {
      const __m128i twelve = load_16_bytes(bytes + i / 16 * 12);
      const Vector x = _mm256_mullo_epi16(_mm256_shuffle_epi8(two(twelve, twelve), both), to_top);
      const Vector first = _mm256_and_si256(_mm256_srli_epi16(x, 10), all(0x0007));
      const Vector second = _mm256_and_si256(_mm256_srli_epi16(x, 5), all(0x0700));
      const Vector sums = _mm256_shuffle_epi8(sum, _mm256_or_si256(first, second));
      store(f.c + i, _mm256_maddubs_epi16(sums, alternating(static_cast<i16>(0xff01), static_cast<i16>(0xff01))));
    }
  }
}

}  // namespace
}  // namespace warpkem::simd
