// What requests need even after their scheduler is gone, when their completions are still to be fetched.
#pragma once

#include "host/core/fork_guard.hpp"
#include "host/serving/admission.hpp"
#include "host/serving/request_pool.hpp"

namespace warpkem::host {

struct RequestStore {
  RequestPool pool;
  Admission admission;
  ForkGuard fork_guard;

  // Takes back requests whose completions were handed over.
  void recycle(RequestChain chain) noexcept;
};

}  // namespace warpkem::host
