// The output arrays of a batch and their sizes, for those that clear or copy them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "host/core/algorithms.hpp"
#include "host/core/batch.hpp"
#include "host/core/operation.hpp"
#include "host/core/secure.hpp"

namespace warpkem::host {

// Calls f(array, record bytes) for every output array of the batch.
template <class F>
void for_each_output(const Batch& b, F f) {
  const Algorithm& algorithm = *find_algorithm(b.algorithm);
  for (const Array array : spec_of(b.operation).out) {
    if (array == Array::none) continue;
    const Out& out = b.*output_of(array);
    if (out.present()) f(out, record_bytes(algorithm, array, b.dk_format));
  }
}

inline void zero_outputs(const Batch& batch, std::size_t item) noexcept {
  for_each_output(batch, [item](const Out& out, std::size_t bytes) { wipe(out[item], bytes); });
}

}  // namespace warpkem::host
