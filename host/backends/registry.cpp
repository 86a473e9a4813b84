#include "host/backends/registry.hpp"

#include "host/backends/cpu_backend.hpp"
#include "host/backends/cuda/cuda_module.hpp"
#include "host/backends/curve/x25519.hpp"
#include "host/backends/hybrid/hybrid_backend.hpp"
#include "host/backends/portable/portable.hpp"
#ifdef WARPKEM_HAVE_AVX2
#include "host/backends/x86/avx2/avx2.hpp"
#endif
#ifdef WARPKEM_HAVE_AVX512
#include "host/backends/x86/avx512/avx512.hpp"
#endif

namespace warpkem::host {

namespace {

// The best X25519 of this CPU from `first` on.
const curve::X25519Kernels& best_x25519(const curve::X25519Kernels& (*first)() noexcept) {
  const curve::Implementation* implementation = curve::implementations();
  while (implementation->kernels != nullptr && implementation->kernels != first) ++implementation;
  while (implementation->kernels != nullptr && !implementation->usable()) ++implementation;
  return implementation->kernels != nullptr ? implementation->kernels() : curve::portable();
}

ProbeResult cpu(const ProbeContext& context, const CpuKernels& kernels, const curve::X25519Kernels& x25519,
                const char* detail) {
  auto backend = std::make_unique<CpuBackend>(kernels, context.pool, detail);
  return {with_hybrids(std::move(backend), {kernels, x25519}, context.pool, context.hybrids), {}};
}

ProbeResult portable_probe(const ProbeContext& context) {
  return cpu(context, portable::kernels(), curve::portable(), "plain C++");
}

#ifdef WARPKEM_HAVE_AVX2
ProbeResult avx2_probe(const ProbeContext& context) {
  std::string why_not;
  if (!avx2::usable(why_not)) return {nullptr, why_not};
  return cpu(context, avx2::kernels(), best_x25519(curve::avx2), "AVX2, 4 lanes");
}
#else
ProbeResult avx2_probe(const ProbeContext&) { return {nullptr, "not in this build"}; }
#endif

#ifdef WARPKEM_HAVE_AVX512
ProbeResult avx512_probe(const ProbeContext& context) {
  std::string why_not;
  if (!avx512::usable(why_not)) return {nullptr, why_not};
  return cpu(context, avx512::kernels(), best_x25519(curve::avx512_ifma), "AVX-512, 8 lanes");
}
#else
ProbeResult avx512_probe(const ProbeContext&) { return {nullptr, "not in this build"}; }
#endif

ProbeResult cuda_probe(const ProbeContext& context) {
  ProbeResult result;
  const cuda::Options options{.devices = context.cuda.devices.c_str(),
                              .chunk = context.cuda.chunk,
                              .streams = context.cuda.streams,
                              .graphs = context.cuda.graphs,
                              .forks = context.cuda.forks,
                              .kernel_copies = context.cuda.kernel_copies,
                              .refuse_zero = context.hybrids.refuse_zero};
  result.backend = cuda_module::make_backend(options, context.asked_for, result.why_not);
  if (result.backend) {
    // The best of this CPU does what the device does not.
    const HybridParts parts{best_hashes(), best_x25519(curve::implementations()->kernels), true};
    result.backend = with_hybrids(std::move(result.backend), parts, context.pool, context.hybrids);
  }
  return result;
}

constexpr BackendEntry known_backends[] = {{"cuda", false, &cuda_probe},
                                           {"avx512", true, &avx512_probe},
                                           {"avx2", true, &avx2_probe},
                                           {"portable", true, &portable_probe}};

}  // namespace

std::span<const BackendEntry> backend_table() noexcept { return known_backends; }

const CpuKernels& best_hashes() noexcept {
  [[maybe_unused]] std::string why_not;
#ifdef WARPKEM_HAVE_AVX512
  if (avx512::usable(why_not)) return avx512::kernels();
#endif
#ifdef WARPKEM_HAVE_AVX2
  if (avx2::usable(why_not)) return avx2::kernels();
#endif
  return portable::kernels();
}

}  // namespace warpkem::host
