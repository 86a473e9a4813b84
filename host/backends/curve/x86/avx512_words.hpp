// Operations on eight words of 64 bits, for both arithmetics of AVX-512: in doubles and with IFMA. In an anonymous
// namespace: each file that includes this is compiled with its own -m flags.
#pragma once

#include <immintrin.h>

#include "host/backends/curve/bytes.hpp"

namespace warpkem::curve {
namespace {

struct Avx512Words {
  using I = __m512i;
  // All bits of a lane, or none. No mask register: it would depend on a secret, and the compiler might mask an access
  // to memory with it.
  using Mask = __m512i;
  static constexpr int lanes = 8;

  static I set(u64 x) { return _mm512_set1_epi64(static_cast<i64>(x)); }
  static I load(const u64* from) { return _mm512_load_si512(from); }
  static void store(u64* to, I a) { _mm512_store_si512(to, a); }
  static I add(I a, I b) { return _mm512_add_epi64(a, b); }
  static I sub(I a, I b) { return _mm512_sub_epi64(a, b); }
  static I bit_and(I a, I b) { return _mm512_and_si512(a, b); }
  static I bit_or(I a, I b) { return _mm512_or_si512(a, b); }
  // Masked with all lanes: gcc 12 warns of the unmasked ones' own uninitialised operand.
  template <int n>
  static I shift_left(I a) {
    return _mm512_maskz_slli_epi64(0xff, a, n);
  }
  template <int n>
  static I shift_right(I a) {
    return _mm512_maskz_srli_epi64(0xff, a, n);
  }
  static Mask top_bit(I a) { return _mm512_maskz_srai_epi64(0xff, a, 63); }
  // b where the mask is set
  static I select(Mask mask, I a, I b) { return _mm512_ternarylogic_epi64(a, b, mask, 0xd8); }

  // A window's five bits. The lowest four pick one of sixteen table entries.
  struct Digit {
    I entry;
    Mask negative;
  };
  static Digit digit(I window) {
    const Mask negative = top_bit(sub(bit_and(window, set(u64{16})), set(u64{1})));
    return {_mm512_ternarylogic_epi64(window, negative, set(u64{15}), 0x78), negative};  // window ^ (negative & 15)
  }
  static Mask negative(const Digit& digit) { return digit.negative; }
};

}  // namespace
}  // namespace warpkem::curve
