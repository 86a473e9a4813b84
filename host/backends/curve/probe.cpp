// Compiled without -m flags, for any CPU.
#include "host/backends/curve/x25519.hpp"

namespace warpkem::curve {
namespace {

#ifdef WARPKEM_HAVE_CURVE_LANES

// Each of these also asks whether the operating system saves the registers.
bool has_avx2() noexcept {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
         __builtin_cpu_supports("bmi") != 0 && __builtin_cpu_supports("bmi2") != 0;
}
bool has_avx512() noexcept {
  return has_avx2() && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
         __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0;
}
bool has_ifma() noexcept { return has_avx512() && __builtin_cpu_supports("avx512ifma") != 0; }

#endif

bool always() noexcept { return true; }

}  // namespace

const Implementation* implementations() noexcept {
  static constexpr Implementation table[] = {
#ifdef WARPKEM_HAVE_CURVE_LANES
      {avx512_ifma, has_ifma, "AVX-512 F, BW, DQ, VL and IFMA"},
      {avx512, has_avx512, "AVX-512 F, BW, DQ and VL"},
      {avx2, has_avx2, "AVX2, FMA, BMI1 and BMI2"},
#endif
      {portable, always, "nothing"},
      {nullptr, nullptr, nullptr}};
  return table;
}

}  // namespace warpkem::curve
