// X25519 with AVX2 and FMA, four items side by side. Compiled with -m flags: nothing here but avx2() has a name that
// the linker sees.
#include <immintrin.h>

#include "host/backends/curve/double_field.hpp"
#include "host/backends/curve/vector_kernels.hpp"
#include "host/backends/curve/x86/float_environment.hpp"

namespace warpkem::curve {
namespace {

struct Avx2Doubles {
  using D = __m256d;
  using I = __m256i;
  using Mask = __m256d;  // the sign of each lane
  static constexpr int lanes = 4;

  static D set(double x) { return _mm256_set1_pd(x); }
  static D fma(D a, D b, D c) { return _mm256_fmadd_pd(a, b, c); }
  static D add(D a, D b) { return _mm256_add_pd(a, b); }
  static D sub(D a, D b) { return _mm256_sub_pd(a, b); }
  static D negate(D a) { return _mm256_xor_pd(a, _mm256_set1_pd(-0.0)); }
  static D select(Mask mask, D a, D b) { return _mm256_blendv_pd(a, b, mask); }  // b where the mask is set

  static I bits(D a) { return _mm256_castpd_si256(a); }
  static D as_double(I a) { return _mm256_castsi256_pd(a); }

  static I set(u64 x) { return _mm256_set1_epi64x(static_cast<i64>(x)); }
  static I load(const u64* from) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(from)); }
  static void store(u64* to, I a) { _mm256_store_si256(reinterpret_cast<__m256i*>(to), a); }
  static I add(I a, I b) { return _mm256_add_epi64(a, b); }
  static I sub(I a, I b) { return _mm256_sub_epi64(a, b); }
  static I bit_and(I a, I b) { return _mm256_and_si256(a, b); }
  static I bit_or(I a, I b) { return _mm256_or_si256(a, b); }
  static I multiply_u32(I a, I b) { return _mm256_mul_epu32(a, b); }
  template <int n>
  static I shift_left(I a) {
    return _mm256_slli_epi64(a, n);
  }
  template <int n>
  static I shift_right(I a) {
    return _mm256_srli_epi64(a, n);
  }
  // Hides what it is from clang, which would make a product of the sum x + 2 x + 16 x: four operations where there were
  // two.
  static I hidden(I a) {
    asm("" : "+x"(a));
    return a;
  }
  static Mask top_bit(I a) { return _mm256_castsi256_pd(a); }

  // A window's five bits. Entries lie four to a vector: `words` picks two words of one, `bit_2` and `bit_3` a vector.
  struct Digit {
    I words;
    D bit_2, bit_3, negative;
  };
  static Digit digit(I window) {
    const I sign = _mm256_slli_epi64(window, 59);  // bit 4, which is set if the digit is positive
    const I negative = _mm256_xor_si256(sign, _mm256_set1_epi64x(-1));
    // Bits 0 to 3 are to be inverted for a negative digit: 0 - 1 or 1 - 1.
    const I inverted = _mm256_sub_epi64(_mm256_srli_epi64(sign, 63), _mm256_set1_epi64x(1));
    const I entry = _mm256_xor_si256(window, inverted);
    const I word = _mm256_and_si256(_mm256_add_epi64(entry, entry), _mm256_set1_epi64x(6));
    const I next = _mm256_slli_epi64(_mm256_or_si256(word, _mm256_set1_epi64x(1)), 32);
    return {_mm256_or_si256(word, next), _mm256_castsi256_pd(_mm256_slli_epi64(entry, 61)),
            _mm256_castsi256_pd(_mm256_slli_epi64(entry, 60)), _mm256_castsi256_pd(negative)};
  }
  static D look_up(const double* table, const Digit& digit) {
    const auto pick = [&](int quarter) {
      const I four = _mm256_load_si256(reinterpret_cast<const __m256i*>(table + 4 * quarter));
      return _mm256_castsi256_pd(_mm256_permutevar8x32_epi32(four, digit.words));
    };
    return _mm256_blendv_pd(_mm256_blendv_pd(pick(0), pick(1), digit.bit_2),
                            _mm256_blendv_pd(pick(2), pick(3), digit.bit_2), digit.bit_3);
  }
  static Mask negative(const Digit& digit) { return digit.negative; }
  static D negate_if(const Digit& digit, D a) {
    return _mm256_xor_pd(a, _mm256_and_pd(digit.negative, _mm256_set1_pd(-0.0)));
  }
};

constexpr X25519Kernels kernel_table = VectorKernels<DoubleField<Avx2Doubles>, FloatEnvironment, 1>::kernels("avx2");

}  // namespace

const X25519Kernels& avx2() noexcept { return kernel_table; }

}  // namespace warpkem::curve
