// A small number for the calling thread, for spreading threads over shards.
#pragma once

#include <atomic>
#include <cstddef>

#include "host/core/thread_local.hpp"

namespace warpkem::host {

inline std::size_t this_thread_number() noexcept {
  static std::atomic<std::size_t> next{0};
  WARPKEM_THREAD_LOCAL std::size_t number_after = 0;  // 0: it has none yet
  if (number_after == 0) number_after = next.fetch_add(1, std::memory_order_relaxed) + 1;
  return number_after - 1;
}

}  // namespace warpkem::host
