// Keccak in the lanes of AVX-512: eight states, or four, with rotations and three-input logic.
#pragma once

#include <immintrin.h>

#include "host/backends/x86/sponge.hpp"

namespace warpkem::simd {
namespace {

constexpr int ternary_xor = 0x96, ternary_chi = 0xd2;  // truth tables: a ^ b ^ c, a ^ (~b & c)

struct Word4VL {
  using Word = __m256i;
  static Word load(const u64* p) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(p)); }
  static void store(u64* p, Word v) { _mm256_store_si256(reinterpret_cast<__m256i*>(p), v); }
  static Word xor2(Word a, Word b) { return _mm256_xor_si256(a, b); }
  static Word xor5(Word a, Word b, Word c, Word d, Word e) {
    return _mm256_ternarylogic_epi64(_mm256_ternarylogic_epi64(a, b, c, ternary_xor), d, e, ternary_xor);
  }
  template <int r>
  static Word rotl(Word a) {
    return _mm256_rol_epi64(a, r);
  }
  static Word chi(Word a, Word b, Word c) { return _mm256_ternarylogic_epi64(a, b, c, ternary_chi); }
  static Word xor_constant(Word a, u64 constant) {
    return xor2(a, _mm256_set1_epi64x(static_cast<long long>(constant)));
  }
};

struct Word8 {
  using Word = __m512i;
  static Word load(const u64* p) { return _mm512_load_si512(p); }
  static void store(u64* p, Word v) { _mm512_store_si512(p, v); }
  static Word xor2(Word a, Word b) { return _mm512_xor_si512(a, b); }
  static Word xor5(Word a, Word b, Word c, Word d, Word e) {
    return _mm512_ternarylogic_epi64(_mm512_ternarylogic_epi64(a, b, c, ternary_xor), d, e, ternary_xor);
  }
  template <int r>
  static Word rotl(Word a) {
    return _mm512_maskz_rol_epi64(0xff, a,
                                  r);  // all lanes: gcc 12 warns of the unmasked one's own uninitialised operand
  }
  static Word chi(Word a, Word b, Word c) { return _mm512_ternarylogic_epi64(a, b, c, ternary_chi); }
  static Word xor_constant(Word a, u64 constant) {
    return xor2(a, _mm512_set1_epi64(static_cast<long long>(constant)));
  }
};

struct Avx512 {
  static constexpr int lanes = 8;

  // Four lanes cost half as much as eight, and less than one does with 64-bit registers.
  [[gnu::noinline]] static void permute(LaneStates<8>& state, int active) noexcept {
    if (active <= 4) {
      keccak_f1600<Word4VL, 8>(state.words[0]);
    } else {
      keccak_f1600<Word8, 8>(state.words[0]);
    }
  }

  static void wipe_registers() noexcept {
    _mm256_zeroall();
    asm volatile(
        "vpxorq %%zmm16, %%zmm16, %%zmm16\n\tvpxorq %%zmm17, %%zmm17, %%zmm17\n\t"
        "vpxorq %%zmm18, %%zmm18, %%zmm18\n\tvpxorq %%zmm19, %%zmm19, %%zmm19\n\t"
        "vpxorq %%zmm20, %%zmm20, %%zmm20\n\tvpxorq %%zmm21, %%zmm21, %%zmm21\n\t"
        "vpxorq %%zmm22, %%zmm22, %%zmm22\n\tvpxorq %%zmm23, %%zmm23, %%zmm23\n\t"
        "vpxorq %%zmm24, %%zmm24, %%zmm24\n\tvpxorq %%zmm25, %%zmm25, %%zmm25\n\t"
        "vpxorq %%zmm26, %%zmm26, %%zmm26\n\tvpxorq %%zmm27, %%zmm27, %%zmm27\n\t"
        "vpxorq %%zmm28, %%zmm28, %%zmm28\n\tvpxorq %%zmm29, %%zmm29, %%zmm29\n\t"
        "vpxorq %%zmm30, %%zmm30, %%zmm30\n\tvpxorq %%zmm31, %%zmm31, %%zmm31"
        :
        :
        : "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27",
          "xmm28", "xmm29", "xmm30", "xmm31");
  }
};

}  // namespace
}  // namespace warpkem::simd
