#include "host/serving/request_pool.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <new>
#include <type_traits>
#include <utility>

#include "host/core/thread_number.hpp"

namespace warpkem::host {

static_assert(std::is_trivially_destructible_v<Request>, "a slab is unmapped as it is");

void RequestPool::Unmap::operator()(Slab* slab) const noexcept { munmap(slab, sizeof *slab); }

void RequestPool::Stack::push(std::unique_ptr<Magazine> magazine) noexcept {
  magazine->next = std::move(first);
  first = std::move(magazine);
  ++size;
}

std::unique_ptr<RequestPool::Magazine> RequestPool::Stack::pop() noexcept {
  std::unique_ptr<Magazine> magazine = std::move(first);
  first = std::move(magazine->next);
  --size;
  return magazine;
}

RequestPool::RequestPool() {
  for (Shard& s : shards_) s.loaded = std::make_unique<Magazine>();
}

RequestPool::~RequestPool() = default;

RequestPool::Shard& RequestPool::shard() noexcept { return shards_[this_thread_number() % num_shards]; }

// Its requests come as a full magazine.
void RequestPool::add_slab() {
  auto magazine = std::make_unique<Magazine>();
  if (first_vacant_ == 0) {
    places_.emplace_back();
    first_vacant_ = static_cast<std::uint32_t>(places_.size());
  }
  void* const memory = mmap(nullptr, sizeof(Slab), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  const std::uint32_t number = first_vacant_ - 1;
  Place& place = places_[number];
  first_vacant_ = std::exchange(place.next_vacant, 0);
  place.slab = MappedSlab(new (memory) Slab);
  for (Request& r : place.slab->requests) {
    r.slot_in_pool = static_cast<std::uint32_t>(number * slab_requests + magazine->size);
    r.state.store(std::uint64_t{place.generation} << 8, std::memory_order_relaxed);
    magazine->requests[magazine->size++] = &r;
  }
  full_.push(std::move(magazine));
  ++num_slabs_;
  ++slabs_made_;
  trim_below_ = SIZE_MAX;
  if (given_back_ == 0) return;
  --given_back_;
  keep_ = std::min(keep_ + 1, keep_most);
}

void RequestPool::change_for_full(std::unique_ptr<Magazine>& loaded) {
  const std::scoped_lock lock(mutex_);
  if (full_.size == 0) add_slab();
  empty_.push(std::move(loaded));
  loaded = full_.pop();
}

// There always is an empty one: every slab came with a magazine, and every shard has one.
void RequestPool::change_for_empty(std::unique_ptr<Magazine>& loaded) noexcept {
  const std::scoped_lock lock(mutex_);
  full_.push(std::move(loaded));
  loaded = empty_.pop();
  ++exchanges_;
  if (trim_is_due()) trims_.store(true, std::memory_order_relaxed);
}

bool RequestPool::has_too_many() const noexcept { return full_.size > 2 * keep_ + 2 * in_use(); }

bool RequestPool::trim_is_due() const noexcept {
  return !trimming_ && has_too_many() && (in_use() <= trim_below_ || exchanges_ > full_.size);
}

RequestChain RequestPool::get(std::size_t n) {
  constexpr std::size_t ahead = 4;
  RequestChain chain;
  try {
    Shard& s = shard();
    const std::scoped_lock lock(s.mutex);
    while (chain.size < n) {
      if (s.loaded->size == 0) change_for_full(s.loaded);
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
  {
    Shard& s = shard();
    const std::scoped_lock lock(s.mutex);
    while (!chain.empty()) {
      Request* const r = chain.pop_front();
      // The generation's 32 bits wrap: a handle is unique among the last four thousand million uses of its place. An
      // asked-for cancel may come in between, hence one exchange-like store after which it finds nothing live.
      const std::uint64_t generation = (r->state.load(std::memory_order_relaxed) >> 8) + 1;
      r->state.store((generation & 0xffffffffu) << 8, std::memory_order_relaxed);
      if (s.loaded->size == slab_requests) change_for_empty(s.loaded);
      s.loaded->requests[s.loaded->size++] = r;
    }
  }
  if (trims_.load(std::memory_order_relaxed)) trim();
}

// Takes the depot's full magazines away, so that nobody waits while they are looked through.
void RequestPool::trim() noexcept {
  Stack spare;
  {
    const std::scoped_lock lock(mutex_);
    const bool is_watched = looks_.load() != 0;  // then another time
    trims_.store(is_watched, std::memory_order_relaxed);
    if (is_watched || !trim_is_due()) return;
    trimming_ = true;
    trim_below_ = in_use() / 4;
    std::swap(spare.first, full_.first);
    std::swap(spare.size, full_.size);
  }
  try {
    give_back(spare);
  } catch (const std::bad_alloc&) {  // no memory to give memory back: another time
  }
  const std::scoped_lock lock(mutex_);
  while (spare.size != 0) full_.push(spare.pop());
  trimming_ = false;
  exchanges_ = 0;
  if (!has_too_many()) trim_below_ = SIZE_MAX;
}

// Of the slabs whose requests are all among the spare ones, those that need not be kept.
void RequestPool::give_back(Stack& spare) {
  std::vector<MappedSlab> gone;
  std::vector<std::uint8_t> count;  // of each place's requests among the spare; `leaves` if it goes
  constexpr std::uint8_t leaves = 255;
  std::size_t enough;
  {
    const std::scoped_lock lock(mutex_);
    count.resize(places_.size());
    enough = keep_ + num_slabs_ - spare.size;
  }
  for (const Magazine* m = spare.first.get(); m != nullptr; m = m->next.get()) {
    for (const Request* r : m->requests) ++count[r->slot_in_pool / slab_requests];
  }
  if (spare.size <= enough) return;
  const auto all_are_spare = static_cast<std::size_t>(std::ranges::count(count, std::uint8_t{slab_requests}));
  const std::size_t to_go = std::min(all_are_spare, spare.size - enough);
  if (to_go == 0) return;
  gone.reserve(to_go);
  {
    const std::scoped_lock lock(mutex_);
    if (looks_.load() != 0) {  // somebody may be looking at one of them
      trim_below_ = SIZE_MAX;
      return;
    }
    for (std::size_t i = count.size(); gone.size() < to_go; --i) {
      if (count[i - 1] != slab_requests) continue;
      count[i - 1] = leaves;
      Place& place = places_[i - 1];
      std::uint64_t generation = 0;
      for (const Request& r : place.slab->requests)
        generation = std::max(generation, r.state.load(std::memory_order_relaxed) >> 8);
      place.generation = static_cast<std::uint32_t>(generation);
      place.next_vacant = std::exchange(first_vacant_, static_cast<std::uint32_t>(i));
      gone.push_back(std::move(place.slab));
    }
    num_slabs_ -= to_go;
    given_back_ += to_go;
    keep_ = std::max(keep_least, keep_ / 2);
  }
  // What stays is packed into the first magazines, the others go too.
  Magazine* to = spare.first.get();
  to->size = 0;
  for (Magazine* from = spare.first.get(); from != nullptr; from = from->next.get()) {
    for (Request* const r : from->requests) {
      if (count[r->slot_in_pool / slab_requests] == leaves) continue;
      if (to->size == slab_requests) {
        to = to->next.get();
        to->size = 0;
      }
      to->requests[to->size++] = r;
    }
  }
  Stack rest;
  rest.first = spare.size == to_go ? std::move(spare.first) : std::move(to->next);
  rest.size = to_go;
  spare.size -= to_go;
}

RequestPool::Found RequestPool::ask_cancel(std::uint64_t handle) noexcept {
  const std::uint64_t place = (handle & 0xffffffffu) - 1, generation = handle >> 32;
  Request* r = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    looks_.fetch_add(1);
    if (place / slab_requests < places_.size()) {
      if (Slab* const slab = places_[static_cast<std::size_t>(place / slab_requests)].slab.get())
        r = &slab->requests[place % slab_requests];
    }
  }
  if (r == nullptr) return {*this, nullptr};
  std::uint64_t expected = generation << 8 | Request::live;
  const bool marked = r->state.compare_exchange_strong(expected, expected | Request::cancel_asked);
  return {*this, marked || expected == (generation << 8 | Request::live | Request::cancel_asked) ? r : nullptr};
}

std::size_t RequestPool::capacity() noexcept {
  const std::scoped_lock lock(mutex_);
  return num_slabs_ * slab_requests;
}

std::size_t RequestPool::slabs_made() noexcept {
  const std::scoped_lock lock(mutex_);
  return slabs_made_;
}

}  // namespace warpkem::host
