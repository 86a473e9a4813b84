// Compiled without -m flags, for any x86-64.
#include "host/backends/x86/avx2/avx2.hpp"

namespace warpkem::avx2 {

bool usable(std::string& why_not) {
  __builtin_cpu_init();
  // Each of these also asks whether the operating system saves the registers.
  const char* missing = __builtin_cpu_supports("avx2") == 0   ? "AVX2"
                        : __builtin_cpu_supports("bmi") == 0  ? "BMI1"
                        : __builtin_cpu_supports("bmi2") == 0 ? "BMI2"
                                                              : nullptr;
  if (missing != nullptr) why_not.assign("the CPU lacks ").append(missing);
  return missing == nullptr;
}

}  // namespace warpkem::avx2
