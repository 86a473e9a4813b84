// Which arrays an operation reads and writes, and which of them are secret: the one place in this backend that knows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "host/batch.hpp"

namespace warpkem::cuda {

enum class Role { seeds, m, ek, dk, c, index, ek_out, dk_out, c_out, K_out };

struct HostArray {
  Role role{};
  bool output = false;
  bool secret = false;
  std::size_t record_bytes = 0;
  const std::uint8_t* data = nullptr;  // written through only if `output`
  std::size_t stride = 0;
  const std::uint8_t* const* table = nullptr;

  const std::uint8_t* item(std::size_t i) const noexcept { return table != nullptr ? table[i] : data + i * stride; }
  bool packed() const noexcept { return table == nullptr && stride == record_bytes; }
};

class HostArrays {
 public:
  explicit HostArrays(const host::Batch& batch) noexcept;
  const HostArray* begin() const noexcept { return arrays_.data(); }
  const HostArray* end() const noexcept { return arrays_.data() + size_; }

 private:
  std::array<HostArray, 5> arrays_{};
  std::size_t size_ = 0;
};

const char* operation_name(host::Operation operation) noexcept;

// Bytes of one record of `role` in such a batch; 0: no such algorithm.
std::size_t record_bytes(Role role, std::uint32_t algorithm, host::DkFormat dk_format) noexcept;

}  // namespace warpkem::cuda
