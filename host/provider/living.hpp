// The objects of a class that are alive, for what has to be done to each of them when the process ends. `T` has a
// member `T* next_`, and Living<T> for a friend.
#pragma once

#include <mutex>
#include <utility>

#include "host/provider/fork_lock.hpp"

namespace warpkem::provider {

template <class T>
class Living {
 public:
  void add(T* one) noexcept {
    const std::scoped_lock lock(lock_);
    one->next_ = std::exchange(first_, one);
  }
  // After last(), which each() never meets half done.
  template <class Last>
  void remove(T* one, const Last& last) noexcept {
    const std::scoped_lock lock(lock_);
    last();
    T** at = &first_;
    while (*at != one) at = &(*at)->next_;
    *at = one->next_;
  }
  template <class Each>
  void each(const Each& each) noexcept {
    const std::scoped_lock lock(lock_);
    for (T* one = first_; one != nullptr; one = one->next_) each(*one);
  }

 private:
  ForkLock lock_;
  T* first_ = nullptr;
};

}  // namespace warpkem::provider
