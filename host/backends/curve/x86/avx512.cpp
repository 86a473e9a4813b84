// X25519 with AVX-512, eight items side by side, for CPUs that lack IFMA. Compiled with -m flags: nothing here but
// avx512() has a name that the linker sees.
#include <immintrin.h>

#include "host/backends/curve/double_field.hpp"
#include "host/backends/curve/vector_kernels.hpp"
#include "host/backends/curve/x86/float_environment.hpp"

namespace warpkem::curve {
namespace {

struct Avx512Doubles {
  using D = __m512d;
  using I = __m512i;
  using Mask = __mmask8;
  static constexpr int lanes = 8;

  static D set(double x) { return _mm512_set1_pd(x); }
  static D fma(D a, D b, D c) { return _mm512_fmadd_pd(a, b, c); }
  static D add(D a, D b) { return _mm512_add_pd(a, b); }
  static D sub(D a, D b) { return _mm512_sub_pd(a, b); }
  static D negate(D a) { return _mm512_xor_pd(a, _mm512_set1_pd(-0.0)); }
  static D select(Mask mask, D a, D b) { return _mm512_mask_blend_pd(mask, a, b); }  // b where the mask is set

  static I bits(D a) { return _mm512_castpd_si512(a); }
  static D as_double(I a) { return _mm512_castsi512_pd(a); }

  static I set(u64 x) { return _mm512_set1_epi64(static_cast<i64>(x)); }
  static I load(const u64* from) { return _mm512_load_si512(from); }
  static void store(u64* to, I a) { _mm512_store_si512(to, a); }
  static I add(I a, I b) { return _mm512_add_epi64(a, b); }
  static I sub(I a, I b) { return _mm512_sub_epi64(a, b); }
  static I bit_and(I a, I b) { return _mm512_and_si512(a, b); }
  static I bit_or(I a, I b) { return _mm512_or_si512(a, b); }
  // Masked with all lanes: gcc 12 warns of the unmasked ones' own uninitialised operand.
  static I multiply_u32(I a, I b) { return _mm512_maskz_mul_epu32(0xff, a, b); }
  template <int n>
  static I shift_left(I a) {
    return _mm512_maskz_slli_epi64(0xff, a, n);
  }
  template <int n>
  static I shift_right(I a) {
    return _mm512_maskz_srli_epi64(0xff, a, n);
  }
  static I hidden(I a) {  // see avx2.cpp
    asm("" : "+v"(a));
    return a;
  }
  static Mask top_bit(I a) { return _mm512_movepi64_mask(a); }

  // A window's five bits. The lowest four pick one of sixteen doubles.
  struct Digit {
    I entry;
    Mask negative;
  };
  static Digit digit(I window) {
    const Mask negative = _mm512_testn_epi64_mask(window, set(u64{16}));
    return {_mm512_mask_xor_epi64(window, negative, window, set(u64{15})), negative};
  }
  static D look_up(const double* table, const Digit& digit) {
    return _mm512_permutex2var_pd(_mm512_load_pd(table), digit.entry, _mm512_load_pd(table + 8));
  }
  static Mask negative(const Digit& digit) { return digit.negative; }
  static D negate_if(const Digit& digit, D a) { return _mm512_mask_xor_pd(a, digit.negative, a, _mm512_set1_pd(-0.0)); }
};

constexpr X25519Kernels kKernels = VectorKernels<DoubleField<Avx512Doubles>, FloatEnvironment, 1>::kernels("avx512");

}  // namespace

const X25519Kernels& avx512() noexcept { return kKernels; }

}  // namespace warpkem::curve
