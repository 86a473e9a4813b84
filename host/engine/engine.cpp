#include "host/engine/engine.hpp"

#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <new>

#include "host/core/cpu_quota.hpp"
#include "host/core/hybrids.hpp"
#include "host/core/operation.hpp"
#include "host/core/outputs.hpp"
#include "host/core/secure.hpp"
#include "host/engine/key_set.hpp"
#include "host/engine/waiter.hpp"

namespace warpkem::host {

namespace {

// Randomness of one slice at the most: bounds the memory that a call takes besides the caller's arrays.
constexpr std::size_t slice_random_bytes = std::size_t{32} << 20;

const char* rule_of(std::uint8_t status, bool is_hybrid) noexcept {
  switch (static_cast<ItemStatus>(status)) {
    case ItemStatus::invalid_ek:
      return is_hybrid ? "ek is invalid: a coefficient of ML-KEM's is not below q (FIPS 203, 7.2), or the curve's part "
                         "is no point, or one that gives a zero secret"
                       : "a coefficient of ek is not below q (FIPS 203, 7.2)";
    case ItemStatus::invalid_dk:
      return is_hybrid ? "dk is invalid: the hash of ek inside ML-KEM's is wrong (FIPS 203, 7.3), or the curve's part "
                         "is no scalar"
                       : "the hash of ek inside dk is wrong (FIPS 203, 7.3)";
    case ItemStatus::invalid_key_index:
      return "its key index is beyond the prepared keys";
    case ItemStatus::invalid_c:
      return "the curve's part of c is no point, or one that gives a zero secret";
    case ItemStatus::pairwise_failed:
      return "dk does not give the secret that was encapsulated to ek (pairwise consistency test)";
    case ItemStatus::invalid_randomness:
      return "the randomness holds no scalar of the curve";
    default:
      return "failed";
  }
}

// Counts the failed items of a call and remembers the first.
class Failures {
 public:
  void add(std::size_t item, std::uint8_t status) noexcept {
    if (count_++ == 0) first_ = item, first_status_ = status;
  }
  // The call's result when every item of the batch has its status.
  CallResult result(const Batch& batch) const noexcept {
    if (count_ == 0) return {};
    char text[320];
    snprintf(text, sizeof text, "item %zu: %s; %zu of %zu items failed", first_,
             rule_of(first_status_, find_hybrid(batch.algorithm) != nullptr), count_, batch.count);
    CallResult result{Status::item_failed, count_, {}};
    try {
      result.text = text;
    } catch (const std::bad_alloc&) {  // the items are done, and have their statuses
    }
    return result;
  }

 private:
  std::size_t count_ = 0, first_ = 0;
  std::uint8_t first_status_ = 0;
};

// The result of a call that failed as a whole; without its text if even that cannot be had.
CallResult whole_call_failed(const std::exception& exception, std::size_t num_items) noexcept {
  const auto* const error = dynamic_cast<const Error*>(&exception);
  CallResult result{error != nullptr ? error->status() : Status::out_of_memory, num_items, {}};
  try {
    result.text = error != nullptr ? error->what() : "out of memory";
  } catch (const std::bad_alloc&) {
  }
  return result;
}

// Secret bytes for one slice: on the stack while they are few, so that a batch of one allocates nothing.
class SecretBytes {
 public:
  explicit SecretBytes(std::size_t bytes) : large_(bytes > sizeof small_ ? bytes : 0), bytes_(bytes) {}
  ~SecretBytes() { wipe(small_, std::min(bytes_, sizeof small_)); }
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  std::uint8_t* data() noexcept { return large_ ? large_.data() : small_; }

 private:
  std::uint8_t small_[1024];
  SecureBuffer large_;
  std::size_t bytes_;
};

// Gives items that cannot be done their status: a bad index, a key that is bad itself.
void refuse_bad_keys(const Batch& batch) noexcept {
  for (std::size_t i = 0; i < batch.count; ++i) {
    const std::uint8_t verdict = batch.keys->verdict(batch.key_of(i));
    if (verdict != item_ok) batch.statuses[i] = verdict;
  }
}

// The next run of pending items at or after `from`; count 0 at the end.
struct Range {
  std::size_t first, count;
};
Range next_pending(const Batch& batch, std::size_t from) noexcept {
  const std::span<const std::uint8_t> statuses(batch.statuses, batch.count);
  const auto first = std::find(statuses.begin() + static_cast<std::ptrdiff_t>(from), statuses.end(), item_pending);
  const auto last = std::find_if(first, statuses.end(), [](std::uint8_t s) { return s != item_pending; });
  return {static_cast<std::size_t>(first - statuses.begin()), static_cast<std::size_t>(last - first)};
}

}  // namespace

unsigned default_threads() {
  const unsigned cores = Cores().count(), quota = cores_by_quota();
  return quota != 0 ? std::min(cores, quota) : cores;
}

Engine::Engine(const EngineOptions& options, std::span<const BackendEntry> table)
    : options_(options),
      random_(options.random, options.random_context),
      pairwise_(options.pairwise_every),
      pool_(std::make_unique<WorkerPool>(options.threads, options.pin_threads, cores_)),
      slots_(std::make_unique<Slot[]>(table.size())),
      num_slots_(table.size()) {
  if (num_slots_ > max_backends) throw Error(Status::unsupported, "more backends than the engine has room for");
  const auto named = std::ranges::find(table, options.backend, &BackendEntry::name);
  forced_ = !options.backend.empty();
  if (forced_ && named == table.end()) {
    std::string text = "backend \"" + options.backend + "\" is unknown; known are";
    for (const BackendEntry& entry : table) text += std::string(" ") + entry.name;
    throw Error(Status::unsupported, text);
  }
  for (std::size_t i = 0; i < num_slots_; ++i) {
    Slot& slot = slots_[i];
    slot.entry = &table[i];
    slot.number = i;
    const bool asked_for = forced_ && slot.entry == &*named;
    // A device is woken only for an engine that may want it; what is on the CPU can always take over.
    if (forced_ && !asked_for && !slot.entry->on_cpu) {
      slot.detail = "not asked for";
      continue;
    }
    ProbeResult probed = slot.entry->probe({*pool_, fork_guard_, options_.cuda, options_.hybrids, asked_for});
    slot.backend = std::move(probed.backend);
    slot.detail = slot.backend ? slot.backend->info().detail : probed.why_not;
    if (slot.backend) {
      slot.abilities = Abilities(*slot.backend);
      std::string lacking;
      for (const Algorithm& a : all_algorithms()) {
        if (!slot.abilities.has_all_of(a)) lacking += (lacking.empty() ? "; without " : ", ") + std::string(a.name);
      }
      slot.detail += lacking;
      order_.insert(asked_for ? order_.begin() : order_.end(), &slot);
      if (!slot.entry->on_cpu) devices_.push_back(&slot);
    } else if (asked_for) {
      throw Error(Status::unsupported, "backend \"" + options.backend + "\" cannot be used: " + slot.detail);
    }
  }
  if (order_.empty()) throw Error(Status::unsupported, "no backend can be used");
  for (const Slot* slot : candidates()) abilities_ |= slot->abilities;
}

Engine::~Engine() {
  if (!forked()) return;
  // Threads, locks and devices are the parent's: they are left alone, and what they hold goes with the process.
  for (std::size_t i = 0; i < num_slots_; ++i) static_cast<void>(slots_[i].backend.release());
  static_cast<void>(pool_.release());
}

bool Engine::a_device_knows(const void* pointer) const noexcept {
  return pointer != nullptr &&
         std::ranges::any_of(devices_, [&](const Slot* slot) { return slot->backend->is_device_pointer(pointer); });
}

namespace {

std::string name_of(const Kind& kind) {
  const Algorithm* const algorithm = find_algorithm(kind.algorithm);
  return std::string(spec_of(kind.operation).name) + " with " + (algorithm != nullptr ? algorithm->name : "?");
}

}  // namespace

void Engine::require(const Kind& kind) const {
  if (supports(kind)) return;
  throw Error(Status::unsupported, candidates().size() == 1 ? std::string("backend \"") + order_.front()->entry->name +
                                                                  "\" does not have " + name_of(kind)
                                                            : "no backend of this engine has " + name_of(kind));
}

namespace {

bool has(const DeviceResident& resident, const Kind& kind) noexcept {
  return resident.supports(kind.operation, kind.algorithm, kind.dk_format);
}

}  // namespace

DeviceResident& Engine::device_resident(Batch* batch) const {
  if (batch != nullptr && batch->operation == Operation::keygen && pairwise_.any()) {
    throw Error(Status::unsupported,
                "key pairs on a device have no pairwise consistency test, which the engine asks for");
  }
  std::string why_not;
  for (const Slot& slot : slots()) {
    if (slot.entry->on_cpu) continue;
    DeviceResident* const resident = slot.backend ? slot.backend->device_resident() : nullptr;
    if (resident != nullptr && batch != nullptr && !has(*resident, kind_of(*batch))) {
      why_not += std::string("; ") + slot.entry->name + " does not have " + name_of(kind_of(*batch));
      continue;
    }
    if (resident != nullptr) {
      if (batch != nullptr && batch->keys != nullptr) batch->form = &batch->keys->form(*slot.backend);
      return *resident;
    }
    why_not += std::string("; ") + slot.entry->name + ": " + slot.detail;
  }
  throw Error(Status::unsupported, "the engine has no backend for device memory" + why_not);
}

void Engine::dispatch(const Batch& batch, std::uint64_t* items_by_backend, std::span<Slot* const> order) {
  std::string texts;
  bool only_memory = true;
  const auto try_backend = [&](Slot& slot) {
    for (Range range = next_pending(batch, 0); range.count != 0;
         range = next_pending(batch, range.first + range.count)) {
      Batch part = slice(batch, range.first, range.count);
      Waiter waiter;
      if (give_form(part, *slot.backend, waiter.completion())) slot.backend->submit(part, waiter.completion());
      waiter.wait();
      const auto left = static_cast<std::size_t>(std::count(part.statuses, part.statuses + part.count, item_pending));
      slot.done.add(part.operation, part.algorithm, part.count - left);
      if (items_by_backend != nullptr) items_by_backend[slot.number] += part.count - left;
      if (waiter.status() == Status::ok && left == 0) continue;
      const char* const text = waiter.status() != Status::ok ? waiter.text() : "left items undone";
      texts += (texts.empty() ? "" : "; ") + std::string(slot.entry->name) + ": " + text;
      only_memory = only_memory && waiter.status() == Status::out_of_memory;
      if (left != 0) return;
    }
  };
  // Small batches go first to those that are quick with them, unless one backend was asked for.
  const auto is_quick = [&](const Slot* slot) {
    return forced_ || slot->backend->info().preferred_count <= batch.count;
  };
  const Kind kind = kind_of(batch);
  for (const bool quick : {true, false}) {
    for (Slot* slot : order) {
      if (is_quick(slot) != quick || !slot->abilities.has(kind)) continue;
      if (slot->quarantined.load(std::memory_order_relaxed)) {
        texts += (texts.empty() ? "" : "; ") + std::string(slot->entry->name) + ": in quarantine";
        only_memory = false;
        continue;
      }
      if (next_pending(batch, 0).count == 0) return;
      try_backend(*slot);
      if (!options_.fail_over && !texts.empty()) break;
    }
    if (!options_.fail_over && !texts.empty()) break;
  }
  if (next_pending(batch, 0).count == 0) return;
  if (texts.empty()) throw Error(Status::unsupported, "no backend that may do it has " + name_of(kind));
  throw Error(only_memory ? Status::out_of_memory : Status::backend_failed,
              options_.fail_over ? "no backend could do it: " + texts : texts);
}

void Engine::run_slice(Batch batch, std::size_t first, std::uint64_t* items_by_backend,
                       std::span<const MessagePart> derives_m) {
  memset(batch.statuses, item_pending, batch.count);
  if (batch.keys != nullptr) refuse_bad_keys(batch);
  const Array to_draw = spec_of(batch.operation).drawn;
  In* const drawn =
      to_draw != Array::none && !(batch.*input_of(to_draw)).present() ? &(batch.*input_of(to_draw)) : nullptr;
  const std::size_t record = record_bytes(*find_algorithm(batch.algorithm), to_draw, batch.dk_format);
  const bool derives = !derives_m.empty();
  SecretBytes secrets(drawn != nullptr ? batch.count * (record + (derives ? h_bytes : 0)) : 0);
  if (derives) {
    std::uint8_t* const h = secrets.data() + batch.count * record;
    derive_m(batch, first, derives_m, {secrets.data(), record, nullptr}, {h, h_bytes, nullptr});
    batch.h = {h, h_bytes, nullptr};
  } else if (drawn != nullptr) {
    random_.fill(secrets.data(), batch.count * record);
  }
  if (drawn != nullptr) *drawn = {secrets.data(), record, nullptr};
  dispatch(batch, items_by_backend, candidates());
  if (batch.operation == Operation::keygen && pairwise_.any()) test_pairs(batch);
}

void Engine::test_pairs(const Batch& keygen) {
  const std::uint64_t first = pairwise_.take(keygen.count);
  const std::size_t most =
      std::max<std::size_t>(1, slice_random_bytes / PairwiseTest::item_bytes(*find_algorithm(keygen.algorithm)));
  PairwiseTest test;
  std::vector<std::uint32_t> items;
  for (std::size_t i = 0; i < keygen.count;) {
    items.clear();
    for (; i < keygen.count && items.size() < most; ++i) {
      if (pairwise_.is_chosen(first + i) && keygen.statuses[i] == item_ok)
        items.push_back(static_cast<std::uint32_t>(i));
    }
    if (items.empty()) break;
    test.begin(keygen, items, random_);
    dispatch(test.encaps(), nullptr, candidates());
    dispatch(test.decaps(), nullptr, candidates());
    for (std::size_t k = 0; k < items.size(); ++k) {
      if (!test.agrees(k)) keygen.statuses[items[k]] = static_cast<std::uint8_t>(ItemStatus::pairwise_failed);
    }
  }
}

CallResult Engine::run(Batch batch, std::uint64_t* items_by_backend, std::span<const MessagePart> derives_m) noexcept {
  CallResult result;
  try {
    const KeyReference reference(batch.keys);
    const Algorithm& algorithm = *find_algorithm(batch.algorithm);
    const std::size_t most = slice_random_bytes / std::max(algorithm.seed_record(batch.dk_format), algorithm.m_bytes);
    std::array<std::uint8_t, 64> few_statuses;
    const bool needs_more = batch.statuses == nullptr && batch.count > few_statuses.size();
    std::vector<std::uint8_t> many_statuses(needs_more ? std::min(batch.count, most) : 0);
    Failures failures;
    for (std::size_t first = 0; first < batch.count; first += most) {
      Batch part = slice(batch, first, std::min(most, batch.count - first));
      if (part.statuses == nullptr) part.statuses = needs_more ? many_statuses.data() : few_statuses.data();
      run_slice(part, first, items_by_backend, derives_m);
      for (std::size_t i = 0; i < part.count; ++i) {
        if (part.statuses[i] == item_ok) continue;
        zero_outputs(part, i);
        failures.add(first + i, part.statuses[i]);
      }
    }
    return failures.result(batch);
  } catch (const std::exception& exception) {
    result = whole_call_failed(exception, batch.count);
  }
  for (std::size_t i = 0; i < batch.count; ++i) zero_outputs(batch, i);
  if (batch.statuses != nullptr) memset(batch.statuses, static_cast<int>(result.status), batch.count);
  return result;
}

std::unique_ptr<KeySet> Engine::make_key_set(std::shared_ptr<const void> owner, const ForkGuard& fork_guard,
                                             const Batch& batch, std::size_t record_bytes) {
  return std::make_unique<KeySet>(std::move(owner), fork_guard, batch, record_bytes);
}

CallResult Engine::prepare(const Batch& batch, KeySet*& keys, MakeKeySet make) noexcept {
  keys = nullptr;
  try {
    const std::size_t record =
        record_bytes(*find_algorithm(batch.algorithm), spec_of(batch.operation).key, batch.dk_format);
    std::unique_ptr<KeySet> set = make(shared_from_this(), fork_guard_, batch, record);
    std::string texts;
    bool only_memory = true;
    const Kind kind = kind_of(batch);
    require(kind);
    for (Slot* slot : candidates()) {
      if (!slot->abilities.has(kind)) continue;
      try {
        if (batch.count != 0) set->form(*slot->backend);
        texts.clear();
        break;
      } catch (const std::exception& exception) {
        const auto* const error = dynamic_cast<const Error*>(&exception);  // else it is std::bad_alloc
        only_memory = only_memory && (error == nullptr || error->status() == Status::out_of_memory);
        texts += (texts.empty() ? "" : "; ") + std::string(slot->entry->name) + ": " +
                 (error != nullptr ? error->what() : "out of memory");
        if (!options_.fail_over) break;
      }
    }
    if (!texts.empty()) throw Error(only_memory ? Status::out_of_memory : Status::backend_failed, texts);
    Failures failures;
    for (std::size_t i = 0; i < batch.count; ++i) {
      if (batch.statuses != nullptr) batch.statuses[i] = set->statuses()[i];
      if (set->statuses()[i] != item_ok) failures.add(i, set->statuses()[i]);
    }
    CallResult result = failures.result(batch);
    keys = set.release();
    return result;
  } catch (const std::exception& exception) {
    CallResult result = whole_call_failed(exception, batch.count);
    if (batch.statuses != nullptr) memset(batch.statuses, static_cast<int>(result.status), batch.count);
    return result;
  }
}

}  // namespace warpkem::host
