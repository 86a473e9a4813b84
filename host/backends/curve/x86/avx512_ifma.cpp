// X25519 with AVX-512 IFMA, eight items side by side. Compiled with -m flags: nothing here but avx512_ifma() has a name
// that the linker sees.
#include "host/backends/curve/ifma_field.hpp"
#include "host/backends/curve/vector_kernels.hpp"
#include "host/backends/curve/x86/avx512_words.hpp"

namespace warpkem::curve {
namespace {

struct Avx512Integers : Avx512Words {
  static I multiply_add_low(I sum, I a, I b) { return _mm512_madd52lo_epu64(sum, a, b); }
  static I multiply_add_high(I sum, I a, I b) { return _mm512_madd52hi_epu64(sum, a, b); }
  static I look_up(const u64* table, const Digit& digit) {
    return _mm512_permutex2var_epi64(_mm512_load_si512(table), digit.entry, _mm512_load_si512(table + 8));
  }
};

struct NoEnvironment {
  NoEnvironment() noexcept {}  // makes it a variable that is used
};

constexpr X25519Kernels kernel_table =
    VectorKernels<IfmaField<Avx512Integers>, NoEnvironment, 0>::kernels("avx512-ifma");

}  // namespace

const X25519Kernels& avx512_ifma() noexcept { return kernel_table; }

}  // namespace warpkem::curve
