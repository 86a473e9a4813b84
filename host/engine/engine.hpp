// The engine: owns the backends, the threads and the randomness, and takes a batch from "checked arguments" to "every
// item has its status", over as many backends as that needs.
#pragma once

#include <atomic>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "host/backends/backend.hpp"
#include "host/backends/cpu_kernels.hpp"
#include "host/backends/registry.hpp"
#include "host/core/algorithms.hpp"
#include "host/core/batch.hpp"
#include "host/core/fork_guard.hpp"
#include "host/core/random.hpp"
#include "host/core/status.hpp"
#include "host/core/worker_pool.hpp"
#include "host/engine/abilities.hpp"
#include "host/engine/item_counters.hpp"
#include "host/engine/pairwise.hpp"

namespace warpkem::host {

class KeySet;

// The cores that the process may use: of its affinity, and of its CPU quota if that is for fewer.
unsigned default_threads();

struct EngineOptions {
  std::string backend;  // empty: automatic
  unsigned threads = default_threads();
  bool pin_threads = false;
  bool fail_over = true;
  RandomFunction random = nullptr;
  void* random_context = nullptr;
  std::bitset<max_algorithms> allowed = std::bitset<max_algorithms>().set();
  CudaOptions cuda;
  HybridOptions hybrids;
  std::size_t pairwise_every = 0;  // see PairwiseChoice
};

// How a call ended, besides the statuses of its items.
struct CallResult {
  Status status = Status::ok;
  std::size_t failed = 0;
  std::string text;  // empty if ok, or if there is no memory for it
};

class Engine : public std::enable_shared_from_this<Engine> {
 public:
  static constexpr std::size_t max_backends = 16;

  // A backend of the table, as this engine found it.
  struct Slot {
    const BackendEntry* entry = nullptr;
    std::unique_ptr<Backend> backend;  // null: not usable, see detail
    std::string detail;
    Abilities abilities;
    ItemCounters done;
    std::size_t number = 0;                // of the table
    std::atomic<bool> quarantined{false};  // it gave wrong answers; nothing goes there until take_back()
  };

  // Throws Error(unsupported) if the backend that is asked for is unknown or cannot be used. Tests pass tables of their
  // own.
  explicit Engine(const EngineOptions& options, std::span<const BackendEntry> table = backend_table());
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  bool forked() const noexcept { return fork_guard_.forked(); }
  bool allows(std::uint32_t algorithm) const noexcept {
    return algorithm < max_algorithms && options_.allowed[algorithm];
  }
  std::span<const Slot> slots() const noexcept { return {slots_.get(), num_slots_}; }
  const Slot* preferred() const noexcept { return order_.front(); }
  std::span<Slot* const> order() const noexcept { return order_; }
  // Those of them that work may go to: without fail-over, only the one that was asked for.
  std::span<Slot* const> candidates() const noexcept {
    return order().first(forced_ && !options_.fail_over ? 1 : order_.size());
  }
  // Whether one of the candidates has it.
  bool supports(const Kind& kind) const noexcept { return abilities_.has(kind); }
  // Throws Error(unsupported) unless one has.
  void require(const Kind& kind) const;
  bool forced() const noexcept { return forced_; }
  const EngineOptions& options() const noexcept { return options_; }
  const Cores& cores() const noexcept { return cores_; }
  Random& random() noexcept { return random_; }
  PairwiseChoice& pairwise() noexcept { return pairwise_; }
  bool is_device_pointer(const void* pointer) const noexcept { return !devices_.empty() && a_device_knows(pointer); }
  // The backend that has device memory. Throws Error(unsupported).
  DeviceResident& device_resident() const { return device_resident(nullptr); }
  // That takes this batch there, which gets the form of its keys. Throws Error.
  DeviceResident& device_resident(Batch& batch) const { return device_resident(&batch); }

  // Message i is item i of each part, one behind the other. No array has a table, and a part of stride 0 is the same in
  // all messages.
  struct MessagePart {
    In items;
    std::size_t bytes;
  };

  // Blocks until the batch is done; its arguments are already checked. Null statuses are allowed here; absent seeds or
  // m are drawn. With `derives_m` each m comes of these parts and H(ek), see derive_m(). Adds to
  // items_by_backend[slot], if given. Never throws: whatever goes wrong is in the result, and the outputs of what went
  // wrong are zero.
  CallResult run(Batch batch, std::uint64_t* items_by_backend = nullptr,
                 std::span<const MessagePart> derives_m = {}) noexcept;

  // Makes a prepared set from a prepare_* batch. The set has one reference, which is the caller's; null if the call
  // failed as a whole. `make` makes the set, for those who want one with more in it.
  using MakeKeySet = std::unique_ptr<KeySet>(std::shared_ptr<const void> owner, const ForkGuard& fork_guard,
                                             const Batch& batch, std::size_t record_bytes);
  CallResult prepare(const Batch& batch, KeySet*& keys, MakeKeySet make = make_key_set) noexcept;

  // SHA3-256 or SHAKE256 (FIPS 202) of `count` messages. Throws std::bad_alloc; then no digest is left.
  void hash(HashFunction function, std::size_t count, std::span<const MessagePart> parts, const Out& digest,
            std::size_t digest_bytes);

  // AES-256-GCM (NIST SP 800-38D) of many texts, by OpenSSL. What is opened gets a status, and is zero where its tag is
  // wrong. No array has a table, and an input of stride 0 is the same for all. Throws Error(unsupported), and has
  // written nothing then.
  struct GcmBatch {
    bool seals = true;
    std::size_t count = 0, aad_bytes = 0, text_bytes = 0;
    In key, nonce, aad;
    In from;  // sealed texts have their tags behind them
    Out to;
    std::uint8_t* statuses = nullptr;  // of what is opened
  };
  static constexpr std::size_t gcm_key_bytes = 32, gcm_nonce_bytes = 12, gcm_tag_bytes = 16;
  CallResult aes256_gcm(const GcmBatch& batch);

  // Of each `ikm` the seed that HPKE's DeriveKeyPair gives to key generation; as hash() else.
  static bool derives_hpke_seeds(std::uint32_t algorithm) noexcept;
  void derive_hpke_seeds(const Algorithm& algorithm, std::size_t count, const In& ikm, std::size_t ikm_bytes,
                         const Out& seeds);

  // Known-answer test of one usable backend by name, or of all. Throws Error.
  void selftest(std::string_view backend);

 private:
  static MakeKeySet make_key_set;
  DeviceResident& device_resident(Batch* batch) const;
  bool a_device_knows(const void* pointer) const noexcept;
  // `batch` begins with item `first` of its call.
  void run_slice(Batch batch, std::size_t first, std::uint64_t* items_by_backend,
                 std::span<const MessagePart> derives_m);
  // Of items [first, ...) of a call, whose batch is `encaps`: h = H(ek) = SHA3-256(ek), and m = SHAKE256 of the parts
  // and h. Throws std::bad_alloc.
  void derive_m(const Batch& encaps, std::size_t first, std::span<const MessagePart> parts, const Out& m, const Out& h);
  // The pairwise consistency test of the key pairs of a batch that are chosen for it. Throws Error, std::bad_alloc.
  void test_pairs(const Batch& keygen);
  // Sends the batch's pending items to the backends of `order` in turn until none is pending. Throws Error.
  void dispatch(const Batch& batch, std::uint64_t* items_by_backend, std::span<Slot* const> order);
  void selftest(Slot& slot);

  const EngineOptions options_;
  const ForkGuard fork_guard_;
  const Cores cores_;
  Random random_;
  PairwiseChoice pairwise_;
  std::unique_ptr<WorkerPool> pool_;
  std::unique_ptr<Slot[]> slots_;
  std::size_t num_slots_;
  std::vector<Slot*> order_;    // usable ones, in the order in which they are tried
  std::vector<Slot*> devices_;  // those of them that are not on the CPU
  Abilities abilities_;         // of the candidates
  bool forced_ = false;         // order_ begins with the one that was asked for
};

}  // namespace warpkem::host
