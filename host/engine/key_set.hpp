// A prepared set: encoded keys, a status for each, and each backend's expanded form of them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "host/backends/backend.hpp"
#include "host/core/batch.hpp"
#include "host/core/fork_guard.hpp"
#include "host/core/kinds.hpp"
#include "host/core/operation.hpp"
#include "host/core/secure.hpp"

namespace warpkem::host {

class KeySet {
 public:
  // Copies the keys of `batch` (prepare_ek or prepare_dk); their statuses follow when a backend has looked at them.
  // `owner` is the engine, which owns the backends and the guard: the set keeps it.
  KeySet(std::shared_ptr<const void> owner, const ForkGuard& fork_guard, const Batch& batch, std::size_t record_bytes);
  KeySet(const KeySet&) = delete;
  KeySet& operator=(const KeySet&) = delete;
  virtual ~KeySet();

  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  bool belongs_to(const void* owner) const noexcept { return owner_.get() == owner; }
  std::uint32_t algorithm() const noexcept { return encoded_batch_.algorithm; }
  Array kind() const noexcept { return spec_of(encoded_batch_.operation).key; }  // ek or dk
  DkFormat dk_format() const noexcept { return encoded_batch_.dk_format; }       // that it was made from
  std::size_t count() const noexcept { return encoded_batch_.count; }
  const std::uint8_t* statuses() const noexcept { return statuses_.data(); }
  // What an item that names this key is answered before any work: ok, or why it cannot be done.
  std::uint8_t verdict(std::size_t key) const noexcept {
    return key < count() ? statuses_[key] : static_cast<std::uint8_t>(ItemStatus::invalid_key_index);
  }
  std::size_t bytes_per_key() const noexcept;

  // The form of this backend, made now if it has none yet: when work fails over, or is sent to a second backend.
  // Throws.
  KeyForm& form(Backend& backend, bool on_one_thread = false);

 private:
  std::shared_ptr<const void> owner_;
  const ForkGuard& fork_guard_;
  SecureBuffer encoded_;
  std::vector<std::uint8_t> statuses_;
  Batch encoded_batch_;  // over encoded_ and statuses_
  std::size_t record_bytes_;
  mutable std::mutex mutex_;  // guards forms_
  std::vector<std::pair<const Backend*, std::unique_ptr<KeyForm>>> forms_;
  std::atomic<std::size_t> references_{1};
};

inline Kind kind_of(const Batch& batch) noexcept {
  const bool prepared = batch.keys != nullptr;
  return {batch.operation, batch.algorithm, prepared ? batch.keys->dk_format() : batch.dk_format, prepared};
}

// Gives a batch the form of its keys that `backend` wants, if it has keys. False: it could not be made, and `done` was
// told why, as the backend would have told it.
bool give_form(Batch& batch, Backend& backend, Completion done) noexcept;

// Holds a set while work is in flight.
class KeyReference {
 public:
  explicit KeyReference(KeySet* keys) noexcept : keys_(keys) {
    if (keys_ != nullptr) keys_->retain();
  }
  KeyReference(KeyReference&& other) noexcept : keys_(std::exchange(other.keys_, nullptr)) {}
  KeyReference& operator=(KeyReference&& other) noexcept {
    std::swap(keys_, other.keys_);
    return *this;
  }
  ~KeyReference() {
    if (keys_ != nullptr) keys_->release();
  }

 private:
  KeySet* keys_;
};

}  // namespace warpkem::host
