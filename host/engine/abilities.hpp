// What a backend has, asked once and then looked up: schedulers ask for every batch.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "host/backends/backend.hpp"
#include "host/core/kinds.hpp"

namespace warpkem::host {

class Abilities {
 public:
  Abilities() = default;  // none
  explicit Abilities(const Backend& backend) noexcept {
    for (const OperationSpec& spec : all_operations()) {
      for (const Algorithm& a : all_algorithms()) {
        for (std::size_t i = 0; i < max_dk_formats; ++i) {
          const auto format = static_cast<DkFormat>(i);
          if (backend.supports(spec.operation, a.id, format)) at(spec.operation, format) |= 1u << a.id;
        }
      }
    }
  }
  Abilities& operator|=(const Abilities& other) noexcept {
    for (std::size_t i = 0; i < algorithms_.size(); ++i) algorithms_[i] |= other.algorithms_[i];
    return *this;
  }

  bool has(const Kind& kind) const noexcept {
    const std::uint32_t preparation = kind.prepared ? at(preparation_of(kind.operation), kind.dk_format) : ~0u;
    return (at(kind.operation, kind.dk_format) & preparation) >> kind.algorithm & 1;
  }
  // Every public operation, with every dk format of the algorithm.
  bool has_all_of(const Algorithm& a) const noexcept {
    for (const OperationSpec& spec : all_operations()) {
      for (std::size_t i = 0; i < max_dk_formats; ++i) {
        const auto format = static_cast<DkFormat>(i);
        const bool is_asked = spec.takes_dk_format ? a.dk_record(format) != 0 : i == 0;
        if (is_asked && !spec.prepares && !has({spec.operation, a.id, format, false})) return false;
      }
    }
    return true;
  }

 private:
  static_assert(max_algorithms <= 32, "a bit for each");

  static constexpr std::size_t index(Operation operation, DkFormat format) noexcept {
    return static_cast<std::size_t>(operation) % max_operations * max_dk_formats +
           static_cast<std::size_t>(format) % max_dk_formats;
  }
  std::uint32_t& at(Operation operation, DkFormat format) noexcept { return algorithms_[index(operation, format)]; }
  std::uint32_t at(Operation operation, DkFormat format) const noexcept {
    return algorithms_[index(operation, format)];
  }

  std::array<std::uint32_t, max_operations * max_dk_formats> algorithms_{};  // a bit each
};

}  // namespace warpkem::host
