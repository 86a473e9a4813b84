// The AVX2 backend: four sponges side by side, 16 coefficients to a vector. Compiled with -m flags: nothing here but
// kernels() has a name that the linker sees.
#include "host/backends/x86/avx2/lanes.hpp"
#include "host/backends/x86/mlkem.hpp"

namespace warpkem::simd {
namespace {

constexpr host::CpuKernels kernel_table = {.name = "avx2",
                                           .lanes = Avx2::lanes,
                                           .workspace_bytes = Kernels<Avx2>::workspace_bytes,
                                           .ek_form_bytes = Kernels<Avx2>::ek_form_bytes,
                                           .dk_form_bytes = Kernels<Avx2>::dk_form_bytes,
                                           .run = Kernels<Avx2>::run,
                                           .hash_workspace_bytes = sizeof(HashWorkspace<Avx2>),
                                           .hash = Kernels<Avx2>::hash};

}  // namespace
}  // namespace warpkem::simd

namespace warpkem::avx2 {

const host::CpuKernels& kernels() noexcept;  // as in avx2.hpp, whose std::string would bring functions to merge
const host::CpuKernels& kernels() noexcept { return simd::kernel_table; }

}  // namespace warpkem::avx2
