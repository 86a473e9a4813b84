// The output arrays of a batch and their sizes, for those that clear or copy them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "host/algorithms.hpp"
#include "host/batch.hpp"
#include "host/secure.hpp"

namespace warpkem::host {

// Of a record of that array.
inline std::size_t out_bytes(std::uint32_t algorithm, DkFormat format, Out Batch::*array) noexcept {
  const Algorithm& a = *find_algorithm(algorithm);
  if (array == &Batch::ek_out) return a.ek_bytes;
  if (array == &Batch::dk_out) return a.dk_record(format);
  return array == &Batch::c_out ? a.c_bytes : a.K_bytes;
}

// Calls f(array, record bytes) for every output array of the batch.
template <class F>
void for_each_output(const Batch& b, F f) {
  for (Out Batch::*array : {&Batch::ek_out, &Batch::dk_out, &Batch::c_out, &Batch::K_out}) {
    if ((b.*array).present()) f(b.*array, out_bytes(b.algorithm, b.dk_format, array));
  }
}

inline void zero_outputs(const Batch& batch, std::size_t item) noexcept {
  for_each_output(batch, [item](const Out& out, std::size_t bytes) { wipe(out[item], bytes); });
}

}  // namespace warpkem::host
