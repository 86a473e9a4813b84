#include "host/backends/cuda/module/forks.hpp"

#include <utility>

namespace warpkem::cuda {

OwnedFork make_fork() { return {make_stream(), make_event(), make_event()}; }

void Forks::reserve() {
  constexpr std::size_t number = 4;
  const std::scoped_lock lock(mutex_);
  if (free_.capacity() >= number) return;
  std::vector<OwnedFork> made;
  made.reserve(number);
  while (made.size() < number) made.push_back(make_fork());
  free_ = std::move(made);
}

OwnedFork Forks::take() noexcept {
  const std::scoped_lock lock(mutex_);
  if (free_.empty()) return {};
  OwnedFork fork = std::move(free_.front());
  free_.erase(free_.begin());
  return fork;
}

void Forks::give_back(OwnedFork fork) noexcept {
  if (!fork.stream) return;
  const std::scoped_lock lock(mutex_);
  free_.push_back(std::move(fork));  // never more than were made, so nothing is allocated
}

void Forks::clear() noexcept { free_.clear(); }

void Forks::forget() noexcept {
  for (OwnedFork& fork : free_) fork.forget();
  free_.clear();
}

}  // namespace warpkem::cuda
