// Time as the scheduler sees it: monotonic nanoseconds. Tests and simulations bring a clock of their own.
#pragma once

#include <chrono>
#include <cstdint>

namespace warpkem::host {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::uint64_t now_ns() const noexcept {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
            .count());
  }
};

inline constexpr std::uint64_t never = UINT64_MAX;

}  // namespace warpkem::host
