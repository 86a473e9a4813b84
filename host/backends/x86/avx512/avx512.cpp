// The AVX-512 backend: eight sponges side by side, with rotations and three-input logic; polynomials as avx2 has them,
// in the 32 registers of 256 bits that AVX-512VL gives. Compiled with -m flags: nothing here but kernels() has a name
// that the linker sees.
#include "host/backends/x86/avx512/lanes.hpp"
#include "host/backends/x86/mlkem.hpp"

namespace warpkem::simd {
namespace {

constexpr host::CpuKernels kernel_table = {.name = "avx512",
                                           .lanes = Avx512::lanes,
                                           .workspace_bytes = Kernels<Avx512>::workspace_bytes,
                                           .ek_form_bytes = Kernels<Avx512>::ek_form_bytes,
                                           .dk_form_bytes = Kernels<Avx512>::dk_form_bytes,
                                           .run = Kernels<Avx512>::run,
                                           .hash_workspace_bytes = sizeof(HashWorkspace<Avx512>),
                                           .hash = Kernels<Avx512>::hash};

}  // namespace
}  // namespace warpkem::simd

namespace warpkem::avx512 {

const host::CpuKernels& kernels() noexcept;  // as in avx512.hpp, whose std::string would bring functions to merge
const host::CpuKernels& kernels() noexcept { return simd::kernel_table; }

}  // namespace warpkem::avx512
