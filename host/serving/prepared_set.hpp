// A prepared set as the scheduler knows it: with the buckets where requests that use it wait. Every set that a request
// names is one.
#pragma once

#include <array>
#include <memory>
#include <utility>

#include "host/engine/key_set.hpp"
#include "host/serving/bucket.hpp"

namespace warpkem::host {

class PreparedSet final : public KeySet {
 public:
  using KeySet::KeySet;

  // For Engine::prepare().
  static std::unique_ptr<KeySet> make(std::shared_ptr<const void> owner, const ForkGuard& fork_guard,
                                      const Batch& batch, std::size_t record_bytes) {
    return std::make_unique<PreparedSet>(std::move(owner), fork_guard, batch, record_bytes);
  }

  std::array<Bucket, 2> buckets{};  // interactive, bulk; guarded by the scheduler's mutex
};

}  // namespace warpkem::host
