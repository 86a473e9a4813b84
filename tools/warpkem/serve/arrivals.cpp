#include "tools/warpkem/serve/arrivals.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include "tools/warpkem/serve/clock.hpp"

namespace warpkem::tool {

namespace {

constexpr std::uint64_t longest_ns = 10'000'000, turn_ns = 2'000'000;

std::uint64_t time_of_a_quarter(double rate, std::size_t bound) {
  const double ns = static_cast<double>(bound) / 4 / rate * 1e9;
  return static_cast<std::uint64_t>(
      std::clamp(ns, static_cast<double>(Arrivals::nap_ns), static_cast<double>(longest_ns)));
}

}  // namespace

Arrivals::Arrivals(double rate, std::size_t bound, std::uint64_t seed, std::size_t producers)
    : patience_ns_(time_of_a_quarter(rate, bound)), random_(seed), gap_(rate > 0 ? rate * 1e-9 : 1) {
  for (std::size_t i = 0; i < producers; ++i) turns_.emplace_back(i == 0 ? 1 : 0);
}

void Arrivals::close() {
  if (closed_.exchange(true)) return;
  for (auto& turn : turns_) turn.release();
}

Arrivals::Turn::Turn(Arrivals& arrivals, std::size_t producer) : arrivals_(arrivals), producer_(producer) {
  arrivals_.turns_[producer_].acquire();
  end_ns_ = now_ns() + turn_ns;
}

Arrivals::Turn::~Turn() { arrivals_.turns_[(producer_ + 1) % arrivals_.turns_.size()].release(); }

bool Arrivals::Turn::is_over() const { return now_ns() >= end_ns_; }

void Arrivals::Turn::take(std::size_t most, std::size_t full, bool refused, std::vector<std::uint64_t>& due) {
  due.clear();
  Arrivals& a = arrivals_;
  const std::uint64_t now = now_ns();
  if (a.next_ == 0) a.next_ = static_cast<double>(now) + a.gap_(a.random_);
  const std::uint64_t wake =
      std::max(static_cast<std::uint64_t>(a.next_), a.last_ + (refused ? a.patience_ns_ : nap_ns));
  if (wake > now) std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(wake - now, longest_ns)));
  a.last_ = now_ns();
  for (; due.size() < most && a.next_ <= static_cast<double>(a.last_); a.next_ += a.gap_(a.random_)) {
    due.push_back(static_cast<std::uint64_t>(a.next_));
  }
  if (due.size() == (refused ? full : most)) a.last_ = 0;
}

}  // namespace warpkem::tool
