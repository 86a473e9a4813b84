#include "host/backends/registry.hpp"

#include "host/backends/cpu_backend.hpp"
#include "host/backends/cuda/cuda_module.hpp"
#include "host/backends/portable/portable.hpp"
#ifdef WARPKEM_HAVE_AVX2
#include "host/backends/x86/avx2/avx2.hpp"
#endif
#ifdef WARPKEM_HAVE_AVX512
#include "host/backends/x86/avx512/avx512.hpp"
#endif

namespace warpkem::host {

namespace {

ProbeResult portable_probe(const ProbeContext& context) {
  return {std::make_unique<CpuBackend>(portable::kernels(), context.pool, "plain C++"), {}};
}

#ifdef WARPKEM_HAVE_AVX2
ProbeResult avx2_probe(const ProbeContext& context) {
  std::string why_not;
  if (!avx2::usable(why_not)) return {nullptr, why_not};
  return {std::make_unique<CpuBackend>(avx2::kernels(), context.pool, "AVX2, 4 lanes"), {}};
}
#else
ProbeResult avx2_probe(const ProbeContext&) { return {nullptr, "not in this build"}; }
#endif

#ifdef WARPKEM_HAVE_AVX512
ProbeResult avx512_probe(const ProbeContext& context) {
  std::string why_not;
  if (!avx512::usable(why_not)) return {nullptr, why_not};
  return {std::make_unique<CpuBackend>(avx512::kernels(), context.pool, "AVX-512, 8 lanes"), {}};
}
#else
ProbeResult avx512_probe(const ProbeContext&) { return {nullptr, "not in this build"}; }
#endif

ProbeResult cuda_probe(const ProbeContext& context) {
  ProbeResult result;
  const cuda::Options options{context.cuda.devices.c_str(), context.cuda.chunk, context.cuda.streams, 0,
                              context.cuda.graphs};
  result.backend = cuda_module::make_backend(options, context.asked_for, result.why_not);
  return result;
}

constexpr BackendEntry table[] = {{"cuda", false, &cuda_probe},
                                  {"avx512", true, &avx512_probe},
                                  {"avx2", true, &avx2_probe},
                                  {"portable", true, &portable_probe}};

}  // namespace

std::span<const BackendEntry> backend_table() noexcept { return table; }

}  // namespace warpkem::host
