// What the stand-in for the driver answers.
#pragma once

#include <atomic>
#include <cstdint>

namespace warpkem::test {

struct DriverAnswers {
  std::atomic<std::uintptr_t> device_begin{0}, device_end{0};    // memory of a device
  std::atomic<std::uintptr_t> managed_begin{0}, managed_end{0};  // memory that host code may follow
  std::atomic<int> device_of_memory{0};
  std::atomic<unsigned> contexts{0};  // a bit for each device that has one
  mutable std::atomic<long> questions{0};
};

}  // namespace warpkem::test
