// The AVX2 backend: four sponges side by side, 16 coefficients to a vector. Compiled with -m flags: nothing here but
// kernels() has a name that the linker sees.
#include "host/backends/simd/mlkem.hpp"

namespace warpkem::simd {
namespace {

struct Avx2 {
  static constexpr int lanes = 4;

  // Four states take half as long again as one does with 64-bit registers.
  [[gnu::noinline]] static void permute(LaneStates<4>& state, int active) noexcept {
    if (active == 1) {
      keccak_f1600<Word1, 4>(state.words[0]);
    } else {
      keccak_f1600<Word4, 4>(state.words[0]);
    }
  }

  static void wipe_registers() noexcept { _mm256_zeroall(); }
};

constexpr host::CpuKernels kKernels = {.name = "avx2",
                                       .lanes = Avx2::lanes,
                                       .workspace_bytes = Kernels<Avx2>::workspace_bytes,
                                       .ek_form_bytes = Kernels<Avx2>::ek_form_bytes,
                                       .dk_form_bytes = Kernels<Avx2>::dk_form_bytes,
                                       .run = Kernels<Avx2>::run};

}  // namespace
}  // namespace warpkem::simd

namespace warpkem::avx2 {

const host::CpuKernels& kernels() noexcept;
const host::CpuKernels& kernels() noexcept { return simd::kKernels; }

}  // namespace warpkem::avx2
