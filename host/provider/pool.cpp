#include "host/provider/pool.hpp"

#include <openssl/crypto.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>

namespace warpkem::provider {

namespace {

constexpr std::size_t batch_items = 32;
constexpr std::size_t alignment = 64;

std::uint64_t seconds_now() noexcept {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);  // which goes on while the machine sleeps
  return static_cast<std::uint64_t>(now.tv_sec);
}

// Held for a copy of a few kilobytes.
class Lock {
 public:
  explicit Lock(std::atomic<std::uint32_t>& word) noexcept : word_(word) {
    while (word_.exchange(1, std::memory_order_acquire) != 0) sched_yield();
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock() { word_.store(0, std::memory_order_release); }

 private:
  std::atomic<std::uint32_t>& word_;
};

// Held while a pool's thread draws randomness, and over every fork: OpenSSL's generators have locks that a child would
// find locked for ever.
constinit std::mutex drawing;

bool guard_forks() noexcept {
  static const int failed = pthread_atfork([] { drawing.lock(); }, [] { drawing.unlock(); }, [] { drawing.unlock(); });
  return failed == 0;
}

std::size_t rounded(std::size_t bytes) noexcept { return (bytes + alignment - 1) / alignment * alignment; }

}  // namespace

// A ring of records, the oldest first. Each begins with the second in which it was made.
struct Pool::Shelf {
  std::atomic<std::uint32_t> lock;
  std::uint32_t is_wanted;  // since it was last filled
  std::size_t first, count;
};

struct Pool::State {
  std::atomic<std::uint32_t> thread_state;  // 0: none, 1: being started, 2: runs, 3: could not be started
  std::atomic<std::uint32_t> is_stopping, is_woken;
  pthread_t thread;
  sem_t waits, is_ready;  // zeros are a semaphore of zero
  Shelf shelves[num_kems];
};

std::size_t Pool::record_bytes(const Kem& kem) noexcept {
  return rounded(sizeof(std::uint64_t) + kem.ek_bytes() + kem.dk_bytes() + kem.seed_bytes());
}

namespace {

std::size_t lay_out(const Settings& settings, std::size_t header, std::size_t (&offsets)[num_kems + 1],
                    std::size_t (*record_bytes)(const Kem&) noexcept) noexcept {
  std::size_t used = rounded(header), largest = 0;
  for (std::size_t i = 0; i < num_kems; ++i) {
    const std::size_t record = record_bytes(all_kems()[i]);
    offsets[i] = used;
    used += record * settings.pool_size;
    largest = std::max(largest, record);
  }
  offsets[num_kems] = used;
  return used + largest * batch_items;
}

}  // namespace

Pool::Pool(const Settings& settings, Engine& engine, Statistics& statistics) noexcept
    : settings_(settings),
      engine_(engine),
      statistics_(statistics),
      guards_forks_(guard_forks()),
      memory_(lay_out(settings, sizeof(State), offsets_, &Pool::record_bytes)) {
  living.add(this);
}

Pool::~Pool() {
  living.remove(this, [&] { stop(); });
}

constinit Living<Pool> Pool::living;

bool Pool::stop_all_at_end() noexcept {
  static const int is_set = OPENSSL_atexit([] { living.each([](Pool& one) { one.stop(); }); });
  return is_set == 1;
}

// In a forked child that took nothing there is no thread to wait for.
void Pool::stop() noexcept {
  State* const own = state();
  if (own == nullptr || own->thread_state.load(std::memory_order_acquire) != 2) return;
  own->is_stopping.store(1);
  sem_post(&own->waits);
  pthread_join(own->thread, nullptr);
  own->thread_state.store(3);
}

std::uint8_t* Pool::record(std::size_t kem, std::size_t slot) const noexcept {
  return static_cast<std::uint8_t*>(memory_.data()) + offsets_[kem] + slot * record_bytes(all_kems()[kem]);
}
std::uint8_t* Pool::batch() const noexcept { return static_cast<std::uint8_t*>(memory_.data()) + offsets_[num_kems]; }

// Under the shelf's lock.
void Pool::discard_old(std::size_t kem) noexcept {
  Shelf& shelf = state()->shelves[kem];
  const std::uint64_t now = seconds_now();
  while (shelf.count != 0) {
    std::uint8_t* const oldest = record(kem, shelf.first);
    std::uint64_t made = 0;
    std::memcpy(&made, oldest, sizeof made);
    if (now - made <= settings_.pool_seconds) return;
    OPENSSL_cleanse(oldest, record_bytes(all_kems()[kem]));
    shelf.first = (shelf.first + 1) % settings_.pool_size;
    --shelf.count;
    statistics_.count(kem, Event::pool_expired);
  }
}

bool Pool::take(std::size_t kem, std::uint8_t* ek, std::uint8_t* dk) noexcept {
  State* const all = state();
  if (all == nullptr || !guards_forks_) return false;
  const Kem& of = all_kems()[kem];
  Shelf& shelf = all->shelves[kem];
  bool is_there = false, is_low = false;
  {
    const Lock lock(shelf.lock);
    discard_old(kem);
    shelf.is_wanted = 1;
    is_there = shelf.count != 0;
    if (is_there) {
      std::uint8_t* const from = record(kem, shelf.first) + sizeof(std::uint64_t);
      std::memcpy(ek, from, of.ek_bytes());
      std::memcpy(dk, from + of.ek_bytes(), of.dk_bytes() + of.seed_bytes());
      OPENSSL_cleanse(from, of.ek_bytes() + of.dk_bytes() + of.seed_bytes());
      shelf.first = (shelf.first + 1) % settings_.pool_size;
      --shelf.count;
    }
    is_low = shelf.count <= settings_.pool_size / 2;
    statistics_.set_stock(kem, shelf.count);
  }
  statistics_.count(kem, is_there ? Event::pool_taken : Event::pool_missed);
  if (is_low) wake();
  return is_there;
}

void Pool::wake() noexcept {
  State* const all = state();
  if (all->is_woken.exchange(1) == 0) sem_post(&all->waits);
  std::uint32_t none = 0;
  if (all->thread_state.load(std::memory_order_relaxed) != 0 || !all->thread_state.compare_exchange_strong(none, 1))
    return;
  if (!stop_all_at_end()) return all->thread_state.store(3, std::memory_order_release);
  sigset_t every, before;
  sigfillset(&every);
  pthread_sigmask(SIG_SETMASK, &every, &before);  // signals are for the program's own threads
  const int failed = pthread_create(
      &all->thread, nullptr,
      [](void* pool) -> void* {
        static_cast<Pool*>(pool)->work();
        return nullptr;
      },
      this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  // Its generator is made while this caller keeps OpenSSL's library context alive: what making it fetches holds
  // references to providers, and one of them would keep this provider from being torn down with the context.
  while (failed == 0 && sem_wait(&all->is_ready) != 0) {
  }
  all->thread_state.store(failed == 0 ? 2 : 3, std::memory_order_release);
}

void Pool::work() noexcept {
  State* const all = state();
  std::uint8_t unused = 0;
  {
    const std::scoped_lock lock(drawing);
    static_cast<void>(engine_.random(&unused, 1));
  }
  sem_post(&all->is_ready);
  while (all->is_stopping.load() == 0) {
    all->is_woken.store(0);
    bool holds_any = false;
    for (std::size_t kem = 0; kem < num_kems; ++kem) {
      Shelf& shelf = all->shelves[kem];
      // Only what was asked for since the last time: a client that is idle does not make keys for ever.
      while (all->is_stopping.load() == 0 && fill(kem)) {
      }
      const Lock lock(shelf.lock);
      discard_old(kem);
      statistics_.set_stock(kem, shelf.count);
      holds_any = holds_any || shelf.count != 0;
    }
    timespec until{};
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += static_cast<time_t>(settings_.pool_seconds) + 1;
    // Old keys go by themselves; when there is none left, there is nothing to do until somebody asks.
    while ((holds_any ? sem_timedwait(&all->waits, &until) : sem_wait(&all->waits)) != 0 && errno == EINTR) {
    }
  }
  OPENSSL_thread_stop_ex(engine_.library());
}

// Makes a batch for a shelf that is wanted and has room. False if it is not, has none, or where it fails.
bool Pool::fill(std::size_t kem) noexcept {
  const Kem& of = all_kems()[kem];
  Shelf& shelf = state()->shelves[kem];
  std::size_t room = 0;
  {
    const Lock lock(shelf.lock);
    discard_old(kem);
    room = shelf.is_wanted != 0 ? settings_.pool_size - shelf.count : 0;
    if (room == 0) shelf.is_wanted = 0;
  }
  const std::size_t count = std::min(room, batch_items), stride = record_bytes(of);
  if (count == 0) return false;
  std::uint8_t* const records = batch();
  const std::uint64_t now = seconds_now();
  std::uint8_t *const ek = records + sizeof now, *const dk = ek + of.ek_bytes(), *const seeds = dk + of.dk_bytes();
  const std::size_t all_bytes = stride * count;
  bool is_done = true;
  for (std::size_t i = 0; i < count && is_done; ++i) {
    const std::scoped_lock lock(drawing);
    is_done = engine_.random(seeds + i * stride, of.seed_bytes());
  }
  const auto reach = [&](std::size_t bytes) { return stride * (count - 1) + bytes; };
  is_done = is_done && engine_.run([&](warpkem_engine* engine, std::uint8_t*) {
    return warpkem_keygen_derand(engine, of.id, of.dk_format, count, {seeds, reach(of.seed_bytes()), stride},
                                 {ek, reach(of.ek_bytes()), stride}, {dk, reach(of.dk_bytes()), stride}, nullptr,
                                 nullptr);
  }) == 1;
  if (is_done) {
    const Lock lock(shelf.lock);
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(records + i * stride, &now, sizeof now);
      std::memcpy(record(kem, (shelf.first + shelf.count) % settings_.pool_size), records + i * stride, stride);
      ++shelf.count;
    }
    statistics_.count(kem, Event::pool_made, count);
  }
  OPENSSL_cleanse(records, all_bytes);
  return is_done;
}

}  // namespace warpkem::provider
