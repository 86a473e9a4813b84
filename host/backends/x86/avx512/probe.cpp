// Compiled without -m flags, for any x86-64.
#include "host/backends/x86/avx512/avx512.hpp"

namespace warpkem::avx512 {

bool usable(std::string& why_not) {
  __builtin_cpu_init();
  // Each of these also asks whether the operating system saves the registers.
  const char* missing = __builtin_cpu_supports("avx2") == 0       ? "AVX2"
                        : __builtin_cpu_supports("bmi") == 0      ? "BMI1"
                        : __builtin_cpu_supports("bmi2") == 0     ? "BMI2"
                        : __builtin_cpu_supports("avx512f") == 0  ? "AVX-512F"
                        : __builtin_cpu_supports("avx512bw") == 0 ? "AVX-512BW"
                        : __builtin_cpu_supports("avx512dq") == 0 ? "AVX-512DQ"
                        : __builtin_cpu_supports("avx512vl") == 0 ? "AVX-512VL"
                                                                  : nullptr;
  if (missing != nullptr) why_not.assign("the CPU lacks ").append(missing);
  return missing == nullptr;
}

}  // namespace warpkem::avx512
