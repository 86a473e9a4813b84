// Kinds of work, and their numbers for tables with a row for each.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "host/core/algorithms.hpp"
#include "host/core/operation.hpp"

namespace warpkem::host {

// What a batch asks for, and what all requests in it have in common.
struct Kind {
  Operation operation{};
  std::uint32_t algorithm = 0;
  DkFormat dk_format = DkFormat::expanded;  // with a prepared set: the one that it was made from
  bool prepared = false;
};

// Numbers every operation with every algorithm.
class Kinds {
 public:
  // Tests pass tables of their own.
  explicit Kinds(std::span<const OperationSpec> operations = all_operations(),
                 std::span<const Algorithm> algorithms = all_algorithms()) noexcept {
    for (const OperationSpec& spec : operations) {
      for (const Algorithm& a : algorithms) rows_[static_cast<std::size_t>(spec.operation)][a.id] = size_++;
    }
  }

  std::size_t size() const noexcept { return size_; }
  // Below size(). Row 0 is for what the tables do not have.
  std::size_t row(Operation operation, std::uint32_t algorithm) const noexcept {
    const auto number = static_cast<std::size_t>(operation);
    return number < max_operations && algorithm < max_algorithms ? rows_[number][algorithm] : 0;
  }

 private:
  std::array<std::array<std::uint16_t, max_algorithms>, max_operations> rows_{};
  std::uint16_t size_ = 1;
};

}  // namespace warpkem::host
