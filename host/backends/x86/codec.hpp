// ByteEncode, ByteDecode, Compress and Decompress, FIPS 203 4.2.1. No function reads or writes a byte outside its
// record unless it says so.
#pragma once

#include <immintrin.h>

#include "host/backends/x86/ntt.hpp"

namespace warpkem::simd {
namespace {

[[gnu::always_inline]] inline __m128i load_16_bytes(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
[[gnu::always_inline]] inline void store_16_bytes(void* p, __m128i v) { _mm_storeu_si128(static_cast<__m128i*>(p), v); }
[[gnu::always_inline]] inline Vector two(__m128i low, __m128i high) { return _mm256_set_m128i(high, low); }
[[gnu::always_inline]] inline __m128i low_half(Vector v) { return _mm256_castsi256_si128(v); }
[[gnu::always_inline]] inline __m128i high_half(Vector v) { return _mm256_extracti128_si256(v, 1); }
// A pattern of 16-bit lanes: even, odd.
[[gnu::always_inline]] inline Vector alternating(int even, int odd) {
  return _mm256_set1_epi32(static_cast<int>(static_cast<u32>(odd) << 16 | static_cast<u16>(even)));
}

// 16 numbers of 12 bits from 24 bytes: lanes of 16 bits take bytes (0, 1), (1, 2), (3, 4), (4, 5), ...
[[gnu::always_inline]] inline Vector unpack_12(const u8* in) {
  const __m128i low = _mm_set_epi8(11, 10, 10, 9, 8, 7, 7, 6, 5, 4, 4, 3, 2, 1, 1, 0);
  const Vector order = two(low, _mm_add_epi8(low, _mm_set1_epi8(4)));  // the upper half's 12 bytes begin at in + 8 + 4
  const Vector x = _mm256_shuffle_epi8(two(load_16_bytes(in), load_16_bytes(in + 8)), order);
  return _mm256_and_si256(_mm256_blend_epi16(x, _mm256_srli_epi16(x, 4), 0xaa), all(0xfff));
}

// ByteDecode_12 without its reduction mod q: 0 <= f_i <= 4095. All that follows is arithmetic mod q.
template <int d>
[[gnu::noinline]] void ByteDecode(const u8* in, NttPoly& f) {
  static_assert(d == 12);
  for (int v = 0; v < num_vectors; ++v) store(f.c + 16 * v, unpack_12(in + 24 * v));
}

// The modulus check of FIPS 203, 7.2, of `count` polynomials of a public key.
[[gnu::noinline]] bool below_q(const u8* in, int count) {
  Vector above = _mm256_setzero_si256();
  for (int v = 0; v < count * num_vectors; ++v) {
    above = _mm256_or_si256(above, _mm256_cmpgt_epi16(unpack_12(in + 24 * v), all(q - 1)));
  }
  return _mm256_testz_si256(above, above) != 0;
}

// ByteEncode_12; any |f_i|.
template <int d>
[[gnu::noinline]] void ByteEncode(const NttPoly& f, u8* out) {
  static_assert(d == 12);
  const Vector order =
      _mm256_broadcastsi128_si256(_mm_set_epi8(-1, -1, -1, -1, 14, 13, 12, 10, 9, 8, 6, 5, 4, 2, 1, 0));
  const Vector join = _mm256_set_epi32(7, 3, 6, 5, 4, 2, 1, 0);
  for (int v = 0; v < num_vectors; ++v, out += 24) {
    const Vector pairs = _mm256_madd_epi16(canonical(load(f.c + 16 * v)), alternating(1, 1 << 12));
    const Vector bytes = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(pairs, order), join);
    store_16_bytes(out, low_half(bytes));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out + 16), high_half(bytes));
  }
}

// Compress_d, FIPS 203 (4.7): round(2^d x / q) mod 2^d, for |x| <= 8000, with no division. The guess is the quotient
// rounded down or one less or more than that by an error below 0.1, so its remainder lies between -q/10 and 1.1 q, and
// the guess is right or one too small.
template <int d>
[[gnu::always_inline]] inline Vector Compress(Vector x) {
  constexpr int doubled = d == 11 ? 1 : 0;  // 2^11 * 2^16 / q would exceed 2^15
  constexpr int scale = ((1 << (d + 16 - doubled)) + q / 2) / q;
  const Vector guess = _mm256_mulhi_epi16(doubled != 0 ? _mm256_add_epi16(x, x) : x, all(scale));
  const Vector remainder = _mm256_sub_epi16(_mm256_slli_epi16(x, d), _mm256_mullo_epi16(guess, all(q)));
  const Vector rounded = _mm256_sub_epi16(guess, _mm256_cmpgt_epi16(remainder, all(q / 2)));
  return _mm256_and_si256(rounded, all((1 << d) - 1));
}

// Four numbers of 10 bits, or eight of 5, in each 64-bit lane's lowest 40 bits: to 20 bytes.
[[gnu::always_inline]] inline void store_4_times_40_bits(Vector v, u8* out) {
  // The upper half's first 6 bytes go to 10-15 of the first 16, its other 4 behind those.
  const Vector order = _mm256_set_epi8(8, 4, 3, 2, 1, 0, -1, -1, -1, -1, -1, -1, 12, 11, 10, 9,  //
                                       -1, -1, -1, -1, -1, -1, 12, 11, 10, 9, 8, 4, 3, 2, 1, 0);
  const Vector bytes = _mm256_shuffle_epi8(v, order);
  const __m128i low = low_half(bytes), high = high_half(bytes);
  store_16_bytes(out, _mm_blend_epi16(low, high, 0xe0));
  _mm_storeu_si32(out + 16, high);
}

// Adjacent 32-bit lanes with numbers below 2^bits: joined in the lowest 2 * bits of each 64-bit lane.
template <int bits>
[[gnu::always_inline]] inline Vector join_32(Vector v) {
  const Vector shift = _mm256_set1_epi64x(32 - bits);  // only the even lanes
  return _mm256_srli_epi64(_mm256_sllv_epi32(v, shift), 32 - bits);
}

// ByteEncode_d(Compress_d(a + b)), |a_i + b_i| <= 8000. For d = 11 it writes 2 bytes too many: only where more of the
// ciphertext follows.
template <int d>
[[gnu::noinline]] void encode_compressed(const Poly& a, const Poly& b, u8* out) {
  const auto at = [&](int v) { return Compress<d>(_mm256_add_epi16(load(a.c + 16 * v), load(b.c + 16 * v))); };
  if constexpr (d == 4) {
    for (int v = 0; v < num_vectors; v += 4, out += 32) {
      const Vector weights = _mm256_set1_epi16(0x1001);
      const Vector low = _mm256_maddubs_epi16(_mm256_packus_epi16(at(v), at(v + 1)), weights);
      const Vector high = _mm256_maddubs_epi16(_mm256_packus_epi16(at(v + 2), at(v + 3)), weights);
      // 32-bit lanes are now those of vectors 0 1 2 3 | 0 1 2 3, two each: first and second quarter.
      const Vector bytes = _mm256_packus_epi16(low, high);
      store(out, _mm256_permutevar8x32_epi32(bytes, _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0)));
    }
  } else if constexpr (d == 5) {
    for (int v = 0; v < num_vectors; v += 2, out += 20) {
      const Vector bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(at(v), at(v + 1)), 0xd8);
      const Vector tens = _mm256_maddubs_epi16(bytes, _mm256_set1_epi16(0x2001));
      store_4_times_40_bits(join_32<20>(_mm256_madd_epi16(tens, alternating(1, 1 << 10))), out);
    }
  } else if constexpr (d == 10) {
    for (int v = 0; v < num_vectors; ++v, out += 20) {
      store_4_times_40_bits(join_32<20>(_mm256_madd_epi16(at(v), alternating(1, 1 << 10))), out);
    }
  } else {
    static_assert(d == 11);
    // 44 bits in each 64-bit lane; the odd ones begin in the middle of a byte.
    const Vector shift = _mm256_set_epi64x(4, 0, 4, 0);
    const Vector order = _mm256_set_epi8(4, 3, 2, 1, 0, -1, -1, -1, -1, -1, 13, 12, 11, 10, 9, 5,  //
                                         -1, -1, -1, -1, -1, 13, 12, 11, 10, 9, 5, 4, 3, 2, 1, 0);
    const Vector shared = _mm256_set_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 8,  //
                                          -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 8, -1, -1, -1, -1, -1);
    for (int v = 0; v < num_vectors; ++v, out += 22) {
      const Vector lanes = _mm256_sllv_epi64(join_32<22>(_mm256_madd_epi16(at(v), alternating(1, 1 << 11))), shift);
      const Vector bytes = _mm256_or_si256(_mm256_shuffle_epi8(lanes, order), _mm256_shuffle_epi8(lanes, shared));
      const __m128i low = low_half(bytes), high = high_half(bytes);
      const __m128i behind = _mm_set_epi8(-1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
      store_16_bytes(out, _mm_or_si128(low, _mm_and_si128(high, behind)));
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out + 16), high);
    }
  }
}

// Decompress_d(ByteDecode_d(in)), 0 <= f_i <= 3329 - 1. Decompress_d(y) = round(q y / 2^d) is one instruction,
// (x q + 2^14) / 2^15, for x = y * 2^(15 - d).
template <int d>
[[gnu::noinline]] void decode_compressed(const u8* in, Poly& f) {
  const auto put = [&](int v, Vector x) { store(f.c + 16 * v, _mm256_mulhrs_epi16(x, all(q))); };
  if constexpr (d == 4) {
    const Vector order = _mm256_set_epi8(-1, 7, -1, 7, -1, 6, -1, 6, -1, 5, -1, 5, -1, 4, -1, 4,  //
                                         -1, 3, -1, 3, -1, 2, -1, 2, -1, 1, -1, 1, -1, 0, -1, 0);
    for (int v = 0; v < num_vectors; ++v, in += 8) {
      const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(in));
      const Vector x = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), order);
      put(v, _mm256_mullo_epi16(_mm256_and_si256(x, alternating(0x0f, 0xf0)), alternating(1 << 11, 1 << 7)));
    }
  } else if constexpr (d == 5) {
    // Numbers begin at bits 0, 5, 10, 15, 20, 25, 30, 35 of 5 bytes.
    const __m128i of_five = _mm_set_epi8(-1, 4, 4, 3, 4, 3, 3, 2, 2, 1, 2, 1, 1, 0, 1, 0);
    const __m128i mask_half = _mm_set_epi16(31 << 3, 31 << 6, 31 << 1, 31 << 4, 31 << 7, 31 << 2, 31 << 5, 31);
    const __m128i scale_half = _mm_set_epi16(1 << 7, 1 << 4, 1 << 9, 1 << 6, 1 << 3, 1 << 8, 1 << 5, 1 << 10);
    const Vector mask = two(mask_half, mask_half), scale = two(scale_half, scale_half);
    const Vector at_0 = two(of_five, _mm_add_epi8(of_five, _mm_set1_epi8(5)));
    const Vector at_6 = _mm256_add_epi8(at_0, _mm256_set1_epi8(6));
    for (int v = 0; v < num_vectors; v += 2, in += 20) {  // the second 10 bytes begin at in + 4 + 6
      const Vector a = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load_16_bytes(in)), at_0);
      const Vector b = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load_16_bytes(in + 4)), at_6);
      put(v, _mm256_mullo_epi16(_mm256_and_si256(a, mask), scale));
      put(v + 1, _mm256_mullo_epi16(_mm256_and_si256(b, mask), scale));
    }
  } else if constexpr (d == 10) {
    const __m128i order = _mm_set_epi8(9, 8, 8, 7, 7, 6, 6, 5, 4, 3, 3, 2, 2, 1, 1, 0);
    const Vector both =
        two(order, _mm_add_epi8(order, _mm_set1_epi8(6)));  // the upper half's bytes begin at in + 4 + 6
    const Vector to_top = _mm256_set1_epi64x(0x0001000400100040);
    for (int v = 0; v < num_vectors; ++v, in += 20) {
      const Vector x = _mm256_shuffle_epi8(two(load_16_bytes(in), load_16_bytes(in + 4)), both);
      put(v, _mm256_and_si256(_mm256_srli_epi16(_mm256_mullo_epi16(x, to_top), 1), all(1023 << 5)));
    }
  } else {
    static_assert(d == 11);
    const __m128i order = _mm_set_epi8(-1, -1, 10, 9, 8, 7, 6, 5, -1, -1, 5, 4, 3, 2, 1, 0);
    const Vector both =
        two(order, _mm_add_epi8(order, _mm_set1_epi8(5)));  // the upper half's bytes begin at in + 6 + 5
    const Vector shift = _mm256_set_epi64x(4, 0, 4, 0);
    for (int v = 0; v < num_vectors; ++v, in += 22) {
      const Vector x =
          _mm256_srlv_epi64(_mm256_shuffle_epi8(two(load_16_bytes(in), load_16_bytes(in + 6)), both), shift);
      // 44 bits to 22 and 22, then to 11 and 11, each 4 bits up.
      const Vector halves = _mm256_blend_epi32(x, _mm256_slli_epi64(x, 10), 0xaa);
      const Vector even = _mm256_and_si256(_mm256_slli_epi32(halves, 4), _mm256_set1_epi32(0x7ff0));
      const Vector odd = _mm256_and_si256(_mm256_slli_epi32(halves, 9), _mm256_set1_epi32(0x7ff00000));
      put(v, _mm256_or_si256(even, odd));
    }
  }
}

// ByteEncode_1(Compress_1(v - w)): the message that K-PKE.Decrypt finds.
[[gnu::noinline]] void encode_message(const Poly& v, const Poly& w, u8* m) {
  const auto at = [&](int i) { return Compress<1>(_mm256_sub_epi16(load(v.c + 16 * i), load(w.c + 16 * i))); };
  for (int i = 0; i < num_vectors; i += 2, m += 4) {
    const Vector bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(at(i), at(i + 1)), 0xd8);
    const int bits = _mm256_movemask_epi8(_mm256_slli_epi16(bytes, 7));
    __builtin_memcpy(m, &bits, 4);
  }
}

// f += Decompress_1(ByteDecode_1(m)).
[[gnu::noinline]] void add_message(const u8* m, Poly& f) {
  const Vector bit = _mm256_set_epi16(static_cast<i16>(0x8000), 0x4000, 0x2000, 0x1000, 0x800, 0x400, 0x200, 0x100,
                                      0x80, 0x40, 0x20, 0x10, 8, 4, 2, 1);
  for (int v = 0; v < num_vectors; ++v, m += 2) {
    i16 bits;
    __builtin_memcpy(&bits, m, 2);
    const Vector set = _mm256_cmpeq_epi16(_mm256_and_si256(all(bits), bit), bit);
    store(f.c + 16 * v, _mm256_add_epi16(load(f.c + 16 * v), _mm256_and_si256(set, all((q + 1) / 2))));
  }
}

}  // namespace
}  // namespace warpkem::simd
