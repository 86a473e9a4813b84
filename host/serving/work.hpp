// What a request asks for, in less than half of a Batch's bytes: that has a place for every array of any operation, and
// no operation has more than two of input and two of output (operation.hpp). Requests wait by the thousand, so their
// bytes are the scheduler's cache misses.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "host/core/batch.hpp"
#include "host/core/kinds.hpp"

namespace warpkem::host {

struct Work {
  // As In and Out, but with a stride of 0 `at` is a table of pointers.
  template <class Byte>
  struct Records {
    const void* at = nullptr;
    std::size_t stride = 0;

    bool present() const noexcept { return at != nullptr; }
    Byte* operator[](std::size_t i) const noexcept {
      if (stride == 0) return static_cast<Byte* const*>(at)[i];
      return static_cast<Byte*>(const_cast<void*>(at)) + i * stride;
    }
  };

  std::array<Records<const std::uint8_t>, 2> in;  // as in the table of operations
  std::array<Records<std::uint8_t>, 2> out;
  KeySet* keys = nullptr;
  const std::uint32_t* index = nullptr;
  std::uint8_t* statuses = nullptr;  // or null
  Operation operation = Operation::keygen;
  std::uint32_t algorithm = 0;
  DkFormat dk_format = DkFormat::expanded;

  Work() = default;
  explicit Work(const Batch& batch) noexcept;
  Kind kind() const noexcept;
  Batch without_arrays() const noexcept;
  std::size_t key_of(std::size_t i) const noexcept { return index != nullptr ? index[i] : 0; }
  void zero_outputs(std::size_t item) const noexcept;
  void release_keys() noexcept;  // gives the reference back, if there is one
};

}  // namespace warpkem::host
