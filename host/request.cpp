#include "host/request.hpp"

#include <utility>

#include "host/thread_number.hpp"

namespace warpkem::host {

RequestPool::Shard& RequestPool::shard() noexcept { return shards_[this_thread_number() % num_shards]; }

RequestPool::Magazine* RequestPool::full_for(Magazine* empty) {
  const std::scoped_lock lock(mutex_);
  Magazine* full = full_;
  if (full != nullptr) {
    full_ = full->next;
  } else {
    const std::size_t first = slabs_.size() * slab_requests;
    Slab& slab = *slabs_.emplace_back(std::make_unique<Slab>());
    full = &slab.magazine;
    for (Request& r : slab.requests) {
      r.slot_in_pool = static_cast<std::uint32_t>(first + full->size);
      r.state.store(std::uint64_t{1} << 8, std::memory_order_relaxed);
      full->requests[full->size++] = &r;
    }
  }
  empty->next = std::exchange(empty_, empty);
  return full;
}

RequestPool::Magazine* RequestPool::empty_for(Magazine* full) noexcept {
  const std::scoped_lock lock(mutex_);
  full->next = std::exchange(full_, full);
  return std::exchange(empty_, empty_->next);
}

RequestChain RequestPool::get(std::size_t n) {
  constexpr std::size_t ahead = 4;
  RequestChain chain;
  try {
    Shard& s = shard();
    const std::scoped_lock lock(s.mutex);
    while (chain.size < n) {
      if (s.loaded->size == 0) s.loaded = full_for(s.loaded);
      Magazine& m = *s.loaded;
      if (m.size > ahead) m.requests[m.size - 1 - ahead]->prefetch();
      Request* const r = m.requests[--m.size];
      r->state.store(r->state.load(std::memory_order_relaxed) | Request::live, std::memory_order_relaxed);
      chain.push_back(r);
    }
  } catch (const std::bad_alloc&) {
    put(chain);
    throw;
  }
  return chain;
}

void RequestPool::put(RequestChain chain) noexcept {
  Shard& s = shard();
  const std::scoped_lock lock(s.mutex);
  while (!chain.empty()) {
    Request* const r = chain.pop_front();
    // The generation's 32 bits wrap: a handle is unique among the last four thousand million uses of its place. An
    // asked-for cancel may come in between, hence one exchange-like store after which it finds nothing live.
    const std::uint64_t generation = (r->state.load(std::memory_order_relaxed) >> 8) + 1;
    r->state.store((generation & 0xffffffffu) << 8, std::memory_order_relaxed);
    if (s.loaded->size == slab_requests) s.loaded = empty_for(s.loaded);
    s.loaded->requests[s.loaded->size++] = r;
  }
}

Request* RequestPool::ask_cancel(std::uint64_t handle) noexcept {
  const std::uint64_t place = (handle & 0xffffffffu) - 1, generation = handle >> 32;
  Request* r = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    if (place / slab_requests >= slabs_.size()) return nullptr;
    r = &slabs_[static_cast<std::size_t>(place / slab_requests)]->requests[place % slab_requests];
  }
  std::uint64_t expected = generation << 8 | Request::live;
  const bool marked = r->state.compare_exchange_strong(expected, expected | Request::cancel_asked);
  return marked || expected == (generation << 8 | Request::live | Request::cancel_asked) ? r : nullptr;
}

}  // namespace warpkem::host
