#include "host/engine/key_set.hpp"

#include <string.h>

#include <algorithm>

#include "host/core/operation.hpp"

namespace warpkem::host {

KeySet::KeySet(std::shared_ptr<const void> owner, const ForkGuard& fork_guard, const Batch& batch,
               std::size_t record_bytes)
    : owner_(std::move(owner)),
      fork_guard_(fork_guard),
      encoded_(batch.count * record_bytes),
      statuses_(batch.count, item_pending),
      encoded_batch_(batch),
      record_bytes_(record_bytes) {
  const auto encoded = input_of(spec_of(batch.operation).key);
  const In& from = batch.*encoded;
  for (std::size_t i = 0; i < count(); ++i) memcpy(encoded_.data() + i * record_bytes, from[i], record_bytes);
  encoded_batch_.*encoded = In{encoded_.data(), record_bytes, nullptr};
  encoded_batch_.statuses = statuses_.data();
}

KeySet::~KeySet() {
  if (!fork_guard_.forked()) return;
  for (auto& [backend, form] : forms_) static_cast<void>(form.release());  // may be a device's, which is the parent's
}

std::size_t KeySet::bytes_per_key() const noexcept {
  if (fork_guard_.forked()) return record_bytes_;  // a thread of the parent may hold the lock for ever
  const std::scoped_lock lock(mutex_);
  std::size_t bytes = record_bytes_;
  for (const auto& [backend, form] : forms_) bytes += form->bytes_per_key();
  return bytes;
}

KeyForm& KeySet::form(Backend& backend, bool on_one_thread) {
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find(forms_, &backend, [](const auto& entry) { return entry.first; });
  if (found != forms_.end()) return *found->second;
  // The first backend's verdicts stand: a second one must not write statuses that calls are reading.
  std::vector<std::uint8_t> verdicts(count(), item_pending);
  Batch batch = encoded_batch_;
  batch.statuses = verdicts.data();
  batch.on_one_thread = on_one_thread;
  std::unique_ptr<KeyForm> form = backend.prepare(batch);
  if (std::ranges::find(verdicts, item_pending) != verdicts.end()) {
    throw Error(Status::backend_failed, backend.info().name + ": not every key was prepared");
  }
  if (forms_.empty()) std::ranges::copy(verdicts, statuses_.begin());
  return *forms_.emplace_back(&backend, std::move(form)).second;
}

bool give_form(Batch& batch, Backend& backend, Completion done) noexcept {
  if (batch.keys == nullptr) return true;
  try {
    batch.form = &batch.keys->form(backend, batch.on_one_thread);
    return true;
  } catch (const Error& error) {
    done.call(done.context, {error.status(), error.what()});
  } catch (const std::exception& error) {  // std::bad_alloc
    done.call(done.context, {Status::out_of_memory, error.what()});
  }
  return false;
}

}  // namespace warpkem::host
