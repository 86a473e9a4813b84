// The output arrays of a batch, for those that clear them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "host/algorithms.hpp"
#include "host/batch.hpp"
#include "host/secure.hpp"

namespace warpkem::host {

// Calls f(array, record bytes) for every output array of the batch.
template <class F>
void for_each_output(const Batch& b, F f) {
  const Algorithm& a = *find_algorithm(b.algorithm);
  if (b.ek_out.present()) f(b.ek_out, a.ek_bytes);
  if (b.dk_out.present()) f(b.dk_out, a.dk_record(b.dk_format));
  if (b.c_out.present()) f(b.c_out, a.c_bytes);
  if (b.K_out.present()) f(b.K_out, a.K_bytes);
}

inline void zero_outputs(const Batch& batch, std::size_t item) noexcept {
  for_each_output(batch, [item](const Out& out, std::size_t bytes) { wipe(out[item], bytes); });
}

}  // namespace warpkem::host
