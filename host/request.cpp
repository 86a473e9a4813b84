#include "host/request.hpp"

#include <chrono>
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

void Admission::limit(std::size_t items, std::size_t bytes) noexcept {
  most_items_.store(items);
  most_bytes_.store(bytes);
}

bool Admission::admit(std::size_t items, std::size_t bytes, std::size_t requests) noexcept {
  const std::size_t items_before = items_.fetch_add(items);
  const std::size_t bytes_before = bytes_.fetch_add(bytes);
  const bool fits = items_before + items <= most_items_.load(std::memory_order_relaxed) &&
                    bytes_before + bytes <= most_bytes_.load(std::memory_order_relaxed);
  if (fits || (items_before == 0 && requests == 1)) return true;
  release(items, bytes);
  return false;
}

void Admission::release(std::size_t items, std::size_t bytes) noexcept {
  bytes_.fetch_sub(bytes);
  items_.fetch_sub(items);
  if (waiters_.load() == 0) return;
  const std::scoped_lock lock(mutex_);
  room_.notify_all();
}

bool Admission::wait(std::size_t items, std::size_t bytes, std::uint64_t timeout_us) {
  std::unique_lock lock(mutex_);
  // Counted before it looks, so that a release after the look knows of it.
  waiters_.fetch_add(1);
  bool admitted = false;
  // Not admit(): its way back takes the lock that is held here.
  const auto try_now = [&] {
    std::size_t before = items_.load();
    for (;;) {
      const bool fits = before + items <= most_items_.load(std::memory_order_relaxed) &&
                        bytes_.load() + bytes <= most_bytes_.load(std::memory_order_relaxed);
      if (!fits && before != 0) return stopped_;
      if (items_.compare_exchange_weak(before, before + items)) break;
    }
    bytes_.fetch_add(bytes);
    return admitted = true;
  };
  constexpr std::uint64_t forever_us = std::uint64_t{1} << 50;
  if (timeout_us >= forever_us) {
    room_.wait(lock, try_now);
  } else {
    room_.wait_for(lock, std::chrono::microseconds(timeout_us), try_now);
  }
  waiters_.fetch_sub(1);
  return admitted;
}

void Admission::stop() noexcept {
  const std::scoped_lock lock(mutex_);
  stopped_ = true;
  room_.notify_all();
}

void RequestStore::recycle(RequestChain chain) noexcept {
  if (chain.empty()) return;
  std::size_t items = 0, bytes = 0;
  for (const Request* r = chain.first; r != nullptr; r = r->next) items += r->charge(), bytes += r->bytes;
  pool.put(chain);
  admission.release(items, bytes);
}

}  // namespace warpkem::host
