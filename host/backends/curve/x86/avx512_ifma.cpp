// X25519 with AVX-512 IFMA, eight items side by side. Compiled with -m flags: nothing here but avx512_ifma() has a name
// that the linker sees.
#include <immintrin.h>

#include "host/backends/curve/ifma_field.hpp"
#include "host/backends/curve/vector_kernels.hpp"

namespace warpkem::curve {
namespace {

struct Avx512Integers {
  using I = __m512i;
  using Mask = __mmask8;
  static constexpr int lanes = 8;

  static I set(u64 x) { return _mm512_set1_epi64(static_cast<i64>(x)); }
  static I load(const u64* from) { return _mm512_load_si512(from); }
  static void store(u64* to, I a) { _mm512_store_si512(to, a); }
  static I multiply_add_low(I sum, I a, I b) { return _mm512_madd52lo_epu64(sum, a, b); }
  static I multiply_add_high(I sum, I a, I b) { return _mm512_madd52hi_epu64(sum, a, b); }
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
  static I select(Mask mask, I a, I b) { return _mm512_mask_blend_epi64(mask, a, b); }  // b where the mask is set
  static Mask top_bit(I a) { return _mm512_movepi64_mask(a); }

  // A window's five bits. The lowest four pick one of sixteen words.
  struct Digit {
    I entry;
    Mask negative;
  };
  static Digit digit(I window) {
    const Mask negative = _mm512_testn_epi64_mask(window, set(u64{16}));
    return {_mm512_mask_xor_epi64(window, negative, window, set(u64{15})), negative};
  }
  static I look_up(const u64* table, const Digit& digit) {
    return _mm512_permutex2var_epi64(_mm512_load_si512(table), digit.entry, _mm512_load_si512(table + 8));
  }
  static Mask negative(const Digit& digit) { return digit.negative; }
};

struct NoEnvironment {
  NoEnvironment() noexcept {}  // makes it a variable that is used
};

constexpr X25519Kernels kKernels = VectorKernels<IfmaField<Avx512Integers>, NoEnvironment, 0>::kernels("avx512-ifma");

}  // namespace

const X25519Kernels& avx512_ifma() noexcept { return kKernels; }

}  // namespace warpkem::curve
