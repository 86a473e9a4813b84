// The arrays of a batch as this backend moves them: by record, with those that the table of operations gives it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "host/core/batch.hpp"
#include "host/core/operation.hpp"
#include "kernels/launch.hpp"

namespace warpkem::cuda {

struct HostArray {
  host::Array array = host::Array::none;  // none: the indices of a prepared set's keys
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

// Where the kernels find the array.
void set_array(kernels::DeviceBatch& batch, host::Array array, std::uint8_t* data, std::size_t stride) noexcept;

// A batch for the kernels without arrays.
kernels::DeviceBatch kernel_batch(const host::Batch& batch, bool refuse_zero) noexcept;

}  // namespace warpkem::cuda
