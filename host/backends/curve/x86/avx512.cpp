// X25519 with AVX-512, eight items side by side, for CPUs that lack IFMA. Compiled with -m flags: nothing here but
// avx512() has a name that the linker sees.
#include "host/backends/curve/double_field.hpp"
#include "host/backends/curve/vector_kernels.hpp"
#include "host/backends/curve/x86/avx512_words.hpp"
#include "host/backends/curve/x86/float_environment.hpp"

namespace warpkem::curve {
namespace {

struct Avx512Doubles : Avx512Words {
  using D = __m512d;
  using Avx512Words::add, Avx512Words::select, Avx512Words::set, Avx512Words::sub;

  static D set(double x) { return _mm512_set1_pd(x); }
  static D fma(D a, D b, D c) { return _mm512_fmadd_pd(a, b, c); }
  static D add(D a, D b) { return _mm512_add_pd(a, b); }
  static D sub(D a, D b) { return _mm512_sub_pd(a, b); }
  static D negate(D a) { return _mm512_xor_pd(a, _mm512_set1_pd(-0.0)); }

  static I bits(D a) { return _mm512_castpd_si512(a); }
  static D as_double(I a) { return _mm512_castsi512_pd(a); }
  static D select(Mask mask, D a, D b) { return as_double(select(mask, bits(a), bits(b))); }

  // Masked as shifts are, see avx512_words.hpp.
  static I multiply_u32(I a, I b) { return _mm512_maskz_mul_epu32(0xff, a, b); }
  static I hidden(I a) {  // see avx2.cpp
    asm("" : "+v"(a));
    return a;
  }

  static D look_up(const double* table, const Digit& digit) {
    return _mm512_permutex2var_pd(_mm512_load_pd(table), digit.entry, _mm512_load_pd(table + 8));
  }
  static D negate_if(const Digit& digit, D a) {
    return as_double(_mm512_ternarylogic_epi64(bits(a), digit.negative, bits(set(-0.0)), 0x78));
  }
};

constexpr X25519Kernels kernel_table =
    VectorKernels<DoubleField<Avx512Doubles>, FloatEnvironment, 1>::kernels("avx512");

}  // namespace

const X25519Kernels& avx512() noexcept { return kernel_table; }

}  // namespace warpkem::curve
