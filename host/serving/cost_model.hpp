// How long a backend takes for a batch of n items of a kind: fixed_ns + n * item_ns, guessed at first, calibrated where
// it matters, and corrected by every batch that runs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "host/core/batch.hpp"
#include "host/core/kinds.hpp"

namespace warpkem::host {

struct Cost {
  double fixed_ns = 0, item_ns = 0;

  std::uint64_t of(std::size_t items) const noexcept {
    return static_cast<std::uint64_t>(fixed_ns + item_ns * static_cast<double>(items));
  }
};

// Of one backend. Not thread-safe.
class CostModel {
 public:
  // What encapsulation with ML-KEM-768 costs there; other kinds are guessed from it until they have run.
  explicit CostModel(Cost encaps_768, const Kinds& kinds = Kinds());

  void calibrate(Cost encaps_768) { reference_ = encaps_768; }
  Cost cost(const Kind& kind) const noexcept;
  void observe(const Kind& kind, std::size_t items, std::uint64_t elapsed_ns) noexcept;

 private:
  // Least squares of time over items, with weights that fade: old batches lose a twentieth with every new one.
  struct Fit {
    double weight = 0, n = 0, nn = 0, t = 0, nt = 0;
    std::optional<Cost> parts;  // as the batches told them when their sizes last differed enough
  };
  std::size_t index_of(const Kind& kind) const noexcept {
    return kinds_.row(kind.operation, kind.algorithm) * 2 + (kind.prepared ? 1 : 0);
  }
  Cost guess(const Kind& kind) const noexcept;

  Cost reference_;
  const Kinds kinds_;
  std::vector<Fit> fits_;
};

}  // namespace warpkem::host
