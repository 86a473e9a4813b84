// The floating-point environment that arithmetic in double precision needs: rounding to nearest, and no trap, for the
// halves of its products are inexact on purpose. The caller's is put back, with the flags as they were.
#pragma once

#include <immintrin.h>

namespace warpkem::curve {
namespace {

class FloatEnvironment {
 public:
  FloatEnvironment() noexcept {
    constexpr unsigned masked_and_to_nearest = 0x1f80;
    asm volatile("vstmxcsr %0\n\tvldmxcsr %1" : "=m"(saved_) : "m"(masked_and_to_nearest) : "memory");
  }
  ~FloatEnvironment() { asm volatile("vldmxcsr %0" : : "m"(saved_) : "memory"); }
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

 private:
  unsigned saved_;
};

}  // namespace
}  // namespace warpkem::curve
