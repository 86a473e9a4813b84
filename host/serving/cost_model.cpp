#include "host/serving/cost_model.hpp"

#include <algorithm>

namespace warpkem::host {

CostModel::CostModel(Cost encaps_768, const Kinds& kinds)
    : reference_(encaps_768), kinds_(kinds), fits_(kinds.size() * 2) {}

Cost CostModel::guess(const Kind& kind) const noexcept {
  const Algorithm* const a = find_algorithm(kind.algorithm);
  double ratio = (a != nullptr ? a->cost : 1) * spec_of(kind.operation).cost;
  if (kind.prepared) ratio *= 0.6;
  return {reference_.fixed_ns, reference_.item_ns * ratio};
}

Cost CostModel::cost(const Kind& kind) const noexcept {
  const Fit& f = fits_[index_of(kind)];
  const Cost parts = f.parts ? *f.parts : guess(kind);
  if (f.weight < 0.5) return parts;
  const double expected = parts.fixed_ns * f.weight + parts.item_ns * f.n;
  const double scale = expected > 0 ? f.t / expected : 1;
  return {parts.fixed_ns * scale, std::max(1.0, parts.item_ns * scale)};
}

void CostModel::observe(const Kind& kind, std::size_t items, std::uint64_t elapsed_ns) noexcept {
  Fit& f = fits_[index_of(kind)];
  double t = static_cast<double>(elapsed_ns);
  const double n = static_cast<double>(items);
  // A thread that lost its core in mid-batch, or came late to see the end of the one before, says little about the
  // backend: what is far off counts for four times what was expected or a quarter at the most, which still follows a
  // backend that became another for good.
  if (f.weight >= 4) {
    const auto expected = static_cast<double>(cost(kind).of(items));
    t = std::clamp(t, expected / 4, 4 * expected + 1000);
  }
  constexpr double fade = 0.95;
  f.weight = f.weight * fade + 1;
  f.n = f.n * fade + n;
  f.nn = f.nn * fade + n * n;
  f.t = f.t * fade + t;
  f.nt = f.nt * fade + n * t;
  // Batches of much the same size tell the sum but not its parts: then their last known proportion stands.
  const double mean_n = f.n / f.weight, mean_t = f.t / f.weight;
  const double variance = f.nn / f.weight - mean_n * mean_n;
  if (f.weight < 4 || variance < 0.04 * mean_n * mean_n) return;
  const double slope = (f.nt / f.weight - mean_n * mean_t) / variance;
  const double item_ns = std::clamp(slope, 0.1 * mean_t / mean_n, mean_t / mean_n);
  f.parts = {mean_t - item_ns * mean_n, item_ns};
}

}  // namespace warpkem::host
