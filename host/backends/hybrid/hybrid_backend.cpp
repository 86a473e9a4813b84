#include "host/backends/hybrid/hybrid_backend.hpp"

#include <stdio.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include "host/backends/workspaces.hpp"
#include "host/core/algorithms.hpp"
#include "host/core/ct.hpp"
#include "host/core/hybrids.hpp"
#include "host/core/operation.hpp"
#include "host/core/secure.hpp"

namespace warpkem::host {

namespace {

// A batch is done in pieces of this many items, which bounds the memory that it takes besides the caller's.
constexpr std::size_t slice_items = 32768;

// The groups of the table of hybrids; null where the build has none.
using Groups = std::array<std::unique_ptr<curve::Group>, 3>;

// A prepared set: the form of its ML-KEM keys, and of each key the element and, of a dk, the scalar before it.
struct HybridForm final : KeyForm {
  std::size_t bytes_per_key() const noexcept override { return ml_kem->bytes_per_key() + stride; }
  const std::uint8_t* scalar(std::size_t key) const noexcept { return group.data() + key * stride; }
  const std::uint8_t* element(std::size_t key) const noexcept { return scalar(key) + element_offset; }

  std::unique_ptr<KeyForm> ml_kem;
  SecureBuffer group;
  std::size_t stride = 0, element_offset = 0;
};

curve::In at(const In& records, std::size_t offset) noexcept {
  return {records.table == nullptr ? records.data + offset : nullptr, records.stride, records.table, offset};
}
curve::Out at(const Out& records, std::size_t offset) noexcept {
  return {records.table == nullptr ? records.data + offset : nullptr, records.stride, records.table, offset};
}

// Memory of a call, which is secret: counted first, then taken.
class Arena {
 public:
  template <class T>
  T* take(std::size_t count) noexcept {
    constexpr std::size_t alignment = 64;
    const std::size_t begin = std::exchange(used_, used_ + (count * sizeof(T) + alignment - 1) / alignment * alignment);
    return memory_ ? reinterpret_cast<T*>(memory_.data() + begin) : nullptr;
  }
  void allocate() { memory_ = SecureBuffer(std::exchange(used_, 0)); }

 private:
  SecureBuffer memory_;
  std::size_t used_ = 0;
};

// A whole batch, of which slices are under way.
class Whole {
 public:
  explicit Whole(Completion done) noexcept : done_(done) {}
  Whole(const Whole&) = delete;
  Whole& operator=(const Whole&) = delete;

  void add_slice() noexcept { left_.fetch_add(1, std::memory_order_relaxed); }
  void slice_done(Status status, const char* text) noexcept {
    if (status != Status::ok) {
      const std::scoped_lock lock(mutex_);
      status_ = status;
      snprintf(text_, sizeof text_, "%s", text);
    }
    if (left_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    done_.call(done_.context, {status_, text_});
    delete this;
  }

 private:
  ~Whole() = default;

  const Completion done_;
  std::atomic<std::size_t> left_{1};  // slices, and the thread that makes them
  std::mutex mutex_;
  Status status_ = Status::ok;
  char text_[256] = "";
};

class HybridBackend final : public Backend {
 public:
  HybridBackend(std::unique_ptr<Backend> ml_kem, const HybridParts& parts, WorkerPool& pool, HybridOptions options);

  const BackendInfo& info() const noexcept override { return ml_kem_->info(); }
  bool supports(Operation operation, std::uint32_t algorithm, DkFormat format) const noexcept override;
  std::unique_ptr<KeyForm> prepare(const Batch& batch) override;
  void submit(const Batch& batch, Completion done) noexcept override;

  DeviceResident* device_resident() noexcept override { return ml_kem_->device_resident(); }
  bool is_device_pointer(const void* p) const noexcept override { return ml_kem_->is_device_pointer(p); }
  std::uint64_t kept_bytes() const noexcept override { return ml_kem_->kept_bytes(); }

 private:
  friend class Call;

  // Whether the backend does both halves of a hybrid's batch itself. (Every hybrid has seeds; prepared keys have a
  // format of their own.)
  bool is_whole(const Batch& batch) const noexcept {
    const DkFormat format = batch.form != nullptr ? DkFormat::seed : batch.dk_format;
    return ml_kem_->supports(batch.operation, batch.algorithm, format);
  }
  const curve::Group* group_of(const Hybrid& hybrid) const noexcept {
    return groups_[static_cast<std::size_t>(hybrid.group)].get();
  }

  const std::unique_ptr<Backend> ml_kem_;
  const CpuKernels& hashes_;
  WorkerPool& pool_;
  const HybridOptions options_;
  const bool is_device_;
  Groups groups_;
  Workspaces workspaces_;
};

// One slice of a batch of a hybrid, through its steps:
//
//   expand        seeds of 32 bytes to d || z || T
//   ML-KEM        submitted to the backend, which may be a device
//   the group     on the CPU's threads, meanwhile
//   combine       when both are done
class Call {
 public:
  // Throws std::bad_alloc.
  Call(HybridBackend& backend, const Batch& batch, Whole* whole);
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Deletes itself when all is done, which may be later and on another thread.
  void start() noexcept;
  // Of a preparation. Throws Error or std::bad_alloc.
  std::unique_ptr<KeyForm> prepare();

 private:
  using Step = void (Call::*)(std::size_t first, std::size_t count, std::uint8_t* workspace);
  static constexpr std::size_t K_bytes = 32;  // of ML-KEM

  void take_memory();
  void view_ml_kem();
  template <class Records>
  Records shifted(const Records& records, std::size_t offset);
  void run(Step step, std::size_t lanes) noexcept;
  void expand(std::size_t first, std::size_t count, std::uint8_t* workspace);
  void do_group(std::size_t first, std::size_t count, std::uint8_t* workspace);
  void keygen(const Batch& b, std::size_t first, std::uint8_t* workspace);
  void encaps(const Batch& b, std::size_t first, std::uint8_t* workspace);
  void decaps(const Batch& b, std::size_t first, std::uint8_t* workspace);
  void write_dk(std::uint8_t* dk, const std::uint8_t* seed, const std::uint8_t* scalar) const noexcept;
  void prepare_group(std::size_t first, std::size_t count, std::uint8_t* workspace);
  void find_scalars(std::size_t first, std::size_t count);
  void combine(std::size_t first, std::size_t count, std::uint8_t* workspace);
  void check_elements(std::size_t first, std::size_t count) noexcept;
  void judge(std::size_t first, std::size_t count, ItemStatus status) noexcept;
  void judge_secrets(std::size_t first, std::size_t count, ItemStatus status) noexcept;
  void settle() noexcept;
  void half_done() noexcept;

  bool has_failed() const noexcept { return failure_.load() != Status::ok; }
  const char* text_of_failure() const noexcept {
    return failure_.load() == Status::out_of_memory ? "out of memory" : "OpenSSL, which has the curves, has cleaned up";
  }
  bool is(Operation operation) const noexcept { return batch_.operation == operation; }
  // From seeds of 32 bytes.
  bool expands() const noexcept {
    const bool reads_seed = is(Operation::keygen) ? batch_.dk_format != DkFormat::composite
                                                  : is_given_dk() && batch_.dk_format == DkFormat::seed;
    return reads_seed && hybrid_.combines();
  }
  // Whether there is something for ML-KEM to do, and for the group.
  bool has_ml_kem() const noexcept { return !is(Operation::check_dk) || batch_.dk_format == DkFormat::expanded; }
  bool has_scalars() const noexcept { return !is(Operation::check_ek) && !is(Operation::prepare_ek); }
  bool is_given_dk() const noexcept { return spec_.key == Array::dk && form_ == nullptr; }
  // X25519 with an element of low order gives zero. TLS refuses that (RFC 10024); the documents of the KEM that
  // combines do not ask for it.
  bool accepts_zero() const noexcept {
    return hybrid_.group == Group::x25519 && hybrid_.combines() && !backend_.options_.refuse_zero;
  }
  // Where a dk has its scalar. (A seed has none.)
  std::size_t scalar_offset() const noexcept {
    return batch_.dk_format == DkFormat::composite
               ? hybrid_.composite_dk().group + encoding_of(hybrid_.group).before.size()
               : hybrid_.expanded_dk().group;
  }
  // What is combined: K of ML-KEM || secret || element in c || element in ek || label.
  std::size_t element_in_c_offset() const noexcept { return K_bytes + sizes_.secret; }
  std::size_t element_in_ek_offset() const noexcept { return element_in_c_offset() + sizes_.element; }
  std::size_t label_offset() const noexcept { return element_in_ek_offset() + sizes_.element; }
  std::size_t message_bytes() const noexcept { return label_offset() + hybrid_.label.size(); }
  std::uint8_t* message(std::size_t i) const noexcept { return messages_ + i * message_stride_; }
  curve::Out messages(std::size_t first, std::size_t offset) const noexcept {
    return {message(first) + offset, message_stride_};
  }
  // Where the group's secrets go.
  curve::Out secrets(const Batch& b, std::size_t first) const noexcept {
    return messages_ != nullptr ? messages(first, K_bytes) : at(b.K_out, hybrid_.K().group);
  }
  curve::Out scalars(std::size_t first) const noexcept { return {scalars_ + first * sizes_.scalar, sizes_.scalar}; }

  HybridBackend& backend_;
  const Batch batch_;
  const Hybrid& hybrid_;
  const GroupSizes sizes_;
  const OperationSpec& spec_;
  const curve::Group& group_;
  const HybridForm* const form_;  // of prepared keys
  Whole* const whole_;
  In material_;  // d || z || T
  Batch ml_kem_;
  HybridForm* made_ = nullptr;  // by a preparation

  Arena arena_;
  std::uint8_t *expanded_ = nullptr, *unused_dk_ = nullptr, *scalars_ = nullptr, *messages_ = nullptr;
  std::uint8_t *good_ = nullptr, *verdicts_ = nullptr;
  std::size_t message_stride_ = 0;
  std::array<std::uint8_t**, 4> tables_{};
  std::size_t tables_used_ = 0;
  const std::uint8_t** elements_ = nullptr;  // of prepared keys

  std::atomic<int> halves_left_{2};
  std::atomic<Status> failure_{Status::ok};  // of a step
  Status status_ = Status::ok;
  char text_[256] = "";
};

Call::Call(HybridBackend& backend, const Batch& batch, Whole* whole)
    : backend_(backend),
      batch_(batch),
      hybrid_(*find_hybrid(batch.algorithm)),
      sizes_(hybrid_.sizes()),
      spec_(spec_of(batch.operation)),
      group_(*backend.group_of(hybrid_)),
      form_(static_cast<const HybridForm*>(batch.form)),
      whole_(whole) {
  take_memory();
  arena_.allocate();
  take_memory();
  if (expands()) {
    material_ = {expanded_, hybrid_.material().bytes, nullptr};
  } else if (is(Operation::keygen)) {
    material_ = batch.seeds;
  } else if (is_given_dk() && batch.dk_format == DkFormat::seed) {
    material_ = batch.dk;
  }
  if (has_ml_kem()) view_ml_kem();
  std::memset(good_, 1, batch.count);
  std::memset(verdicts_, item_ok, batch.count);
}

void Call::take_memory() {
  const std::size_t n = batch_.count;
  good_ = arena_.take<std::uint8_t>(n);
  verdicts_ = arena_.take<std::uint8_t>(n);
  if (has_scalars()) scalars_ = arena_.take<std::uint8_t>(n * sizes_.scalar);
  if (expands()) expanded_ = arena_.take<std::uint8_t>(n * hybrid_.material().bytes);
  if (expands() && is(Operation::keygen)) unused_dk_ = arena_.take<std::uint8_t>(n * MlKem768::seed_bytes);
  if (hybrid_.combines() && (is(Operation::encaps) || is(Operation::decaps))) {
    message_stride_ = (message_bytes() + 7) / 8 * 8;
    messages_ = arena_.take<std::uint8_t>(n * message_stride_);
  }
  if (form_ != nullptr && is(Operation::encaps)) elements_ = arena_.take<const std::uint8_t*>(n);
  for_each_array(
      [&](Array, const auto& array) {
        if (array.table != nullptr) tables_[tables_used_++] = arena_.take<std::uint8_t*>(n);
      },
      batch_);
  tables_used_ = 0;
}

// Records that begin `offset` bytes later.
template <class Records>
Records Call::shifted(const Records& records, std::size_t offset) {
  if (offset == 0 || !records.present()) return records;
  if (records.table == nullptr) return {records.data + offset, records.stride, nullptr};
  std::uint8_t** const table = tables_[tables_used_++];
  for (std::size_t i = 0; i < batch_.count; ++i) table[i] = const_cast<std::uint8_t*>(records.table[i]) + offset;
  return {nullptr, 0, table};
}

void Call::view_ml_kem() {
  const bool is_expanded = batch_.dk_format == DkFormat::expanded;
  Batch& b = ml_kem_;
  b.operation = batch_.operation;
  b.algorithm = hybrid_.ml_kem;
  b.count = batch_.count;
  b.statuses = batch_.statuses;
  b.on_one_thread = batch_.on_one_thread;
  b.index = batch_.index;
  b.form = form_ != nullptr ? form_->ml_kem.get() : nullptr;
  b.keys = batch_.keys;  // says that there are some
  if (spec_.takes_dk_format) b.dk_format = is_expanded ? DkFormat::expanded : DkFormat::seed;
  if (is(Operation::keygen)) {
    b.seeds = material_;
    b.ek_out = shifted(batch_.ek_out, hybrid_.ek().ml_kem);
    b.dk_out = is_expanded ? shifted(batch_.dk_out, hybrid_.expanded_dk().ml_kem)
               : expands() ? Out{unused_dk_, MlKem768::seed_bytes, nullptr}
                           : batch_.dk_out;
    return;
  }
  b.m = batch_.m;
  b.ek = shifted(batch_.ek, hybrid_.ek().ml_kem);
  b.dk = is_expanded ? shifted(batch_.dk, hybrid_.expanded_dk().ml_kem) : expands() ? material_ : batch_.dk;
  b.c = shifted(batch_.c, hybrid_.c().ml_kem);
  b.c_out = shifted(batch_.c_out, hybrid_.c().ml_kem);
  b.K_out = messages_ != nullptr ? Out{messages_, message_stride_, nullptr} : shifted(batch_.K_out, hybrid_.K().ml_kem);
}

// Runs a step over all items, `lanes` of them side by side, on this thread and the pool's.
void Call::run(Step step, std::size_t lanes) noexcept {
  struct Shared {
    Call& call;
    Step step;
  } shared{*this, step};
  const auto work = [](void* context, std::size_t first, std::size_t count) noexcept {
    const Shared& s = *static_cast<Shared*>(context);
    try {
      const Workspaces::Lent workspace(s.call.backend_.workspaces_);
      (s.call.*s.step)(first, count, workspace.data());
      clear_vector_registers();
    } catch (const Error& error) {  // OpenSSL has ended
      s.call.failure_.store(error.status(), std::memory_order_relaxed);
    } catch (const std::exception&) {  // std::bad_alloc
      s.call.failure_.store(Status::out_of_memory, std::memory_order_relaxed);
    }
  };
  // A device's batch is large: all threads do the group's half, whichever thread submits it.
  const bool here = (batch_.on_one_thread && !backend_.is_device_) || batch_.count <= 2 * lanes;
  backend_.pool_.run(batch_.count, here ? batch_.count : lanes, work, &shared);
}

void Call::start() noexcept {
  if (expands()) run(&Call::expand, backend_.hashes_.lanes);
  if (has_ml_kem() && !has_failed()) {
    const auto done = [](void* context, const Outcome& outcome) noexcept {
      Call& call = *static_cast<Call*>(context);
      call.status_ = outcome.status;
      if (outcome.status != Status::ok) snprintf(call.text_, sizeof call.text_, "%s", outcome.text);
      call.half_done();
    };
    backend_.ml_kem_->submit(ml_kem_, {done, this});
  } else {
    if (!has_ml_kem()) std::memset(batch_.statuses, item_ok, batch_.count);
    half_done();
  }
  run(&Call::do_group, group_.lanes());
  half_done();
}

std::unique_ptr<KeyForm> Call::prepare() {
  auto form = std::make_unique<HybridForm>();
  const bool is_ek = is(Operation::prepare_ek);
  form->element_offset = is_ek ? 0 : sizes_.scalar;
  form->stride = form->element_offset + sizes_.element;
  form->group = SecureBuffer(batch_.count * form->stride);
  made_ = form.get();
  if (expands()) run(&Call::expand, backend_.hashes_.lanes);
  if (!has_failed()) form->ml_kem = backend_.ml_kem_->prepare(ml_kem_);
  if (!has_failed()) run(&Call::prepare_group, group_.lanes());
  if (has_failed()) throw Error(failure_.load(), text_of_failure());
  settle();
  return form;
}

// SHAKE256(seed, 64 + T): expandDecapsulationKey of draft-irtf-cfrg-concrete-hybrid-kems.
void Call::expand(std::size_t first, std::size_t count, std::uint8_t* workspace) {
  HashBatch hash;
  hash.function = HashFunction::shake256;
  hash.count = count;
  hash.message = slice(batch_, first, count).*input_of(is(Operation::keygen) ? Array::seeds : Array::dk);
  hash.message_bytes = Hybrid::short_seed_bytes;
  hash.digest_bytes = hybrid_.material().bytes;
  hash.digest = {expanded_ + first * hash.digest_bytes, hash.digest_bytes, nullptr};
  backend_.hashes_.hash(hash, workspace);
}

// Items of the piece that are not good get the status, unless they have one already.
void Call::judge(std::size_t first, std::size_t count, ItemStatus status) noexcept {
  declassify(good_ + first, count);  // the item's status says so
  for (std::size_t i = first; i < first + count; ++i) {
    if (good_[i] == 0 && verdicts_[i] == item_ok) verdicts_[i] = static_cast<std::uint8_t>(status);
    good_[i] = 1;
  }
}

// The same after derive(). The flag of a zero that is accepted stays secret.
void Call::judge_secrets(std::size_t first, std::size_t count, ItemStatus status) noexcept {
  if (accepts_zero()) {
    std::memset(good_ + first, 1, count);
  } else {
    judge(first, count, status);
  }
}

void Call::check_elements(std::size_t first, std::size_t count) noexcept {
  if (accepts_zero()) return;
  const curve::In elements = at(slice(batch_, first, count).ek, hybrid_.ek().group);
  group_.check_elements(count, elements, good_ + first);
  judge(first, count, ItemStatus::invalid_ek);
}

// The scalars of all items, from whatever has them.
void Call::find_scalars(std::size_t first, std::size_t count) {
  const Batch b = slice(batch_, first, count);
  if (form_ != nullptr && spec_.key == Array::dk) {
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(scalars(first)[i], form_->scalar(b.key_of(i)), sizes_.scalar);
    }
    return;
  }
  if (is_given_dk() && batch_.dk_format != DkFormat::seed) {
    const ScalarEncoding encoding = encoding_of(hybrid_.group);
    const bool is_composite = batch_.dk_format == DkFormat::composite;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint8_t* const scalar = b.dk[i] + scalar_offset();
      std::memcpy(scalars(first)[i], scalar, sizes_.scalar);
      if (!is_composite) continue;
      const std::uint8_t *const before = scalar - encoding.before.size(), *const after = scalar + sizes_.scalar;
      declassify(before, encoding.before.size());  // the same in all keys
      declassify(after, encoding.after.size());    // the same in all keys
      const bool is_good = std::memcmp(before, encoding.before.data(), encoding.before.size()) == 0 &&
                           std::memcmp(after, encoding.after.data(), encoding.after.size()) == 0;
      if (!is_good) good_[first + i] = 0;
    }
    group_.check_scalars(count, curve::to_const(scalars(first)), good_ + first);
    return judge(first, count, ItemStatus::invalid_dk);
  }
  const bool is_m = is(Operation::encaps);
  const curve::In randomness =
      is_m ? at(b.m, hybrid_.m().group) : curve::from(at(material_, hybrid_.material().group), first);
  group_.random_scalars(count, randomness, scalars(first), good_ + first);
  judge(first, count, is_m || is(Operation::keygen) ? ItemStatus::invalid_randomness : ItemStatus::invalid_dk);
}

void Call::do_group(std::size_t first, std::size_t count, std::uint8_t* workspace) {
  if (has_scalars()) find_scalars(first, count);
  const Batch b = slice(batch_, first, count);
  switch (batch_.operation) {
    case Operation::keygen:
      return keygen(b, first, workspace);
    case Operation::encaps:
      return encaps(b, first, workspace);
    case Operation::decaps:
      return decaps(b, first, workspace);
    case Operation::check_ek:
      return check_elements(first, count);
    default:  // check_dk: find_scalars() has judged
      return;
  }
}

void Call::keygen(const Batch& b, std::size_t first, std::uint8_t* workspace) {
  const curve::Out element = at(b.ek_out, hybrid_.ek().group);
  group_.public_keys(b.count, curve::to_const(scalars(first)), element, workspace);
  for (std::size_t i = 0; i < b.count; ++i) {
    declassify(element[i], sizes_.element);  // what key generation publishes
    write_dk(b.dk_out[i], b.seeds[i], scalars(first)[i]);
  }
}

// All of a dk but what ML-KEM writes.
void Call::write_dk(std::uint8_t* dk, const std::uint8_t* seed, const std::uint8_t* scalar) const noexcept {
  if (batch_.dk_format == DkFormat::seed) {
    const std::size_t begin = hybrid_.combines() ? 0 : hybrid_.material().group;  // ML-KEM writes d || z
    const std::size_t end = hybrid_.combines() ? Hybrid::short_seed_bytes : hybrid_.material().bytes;
    std::memcpy(dk + begin, seed + begin, end - begin);
    return;
  }
  std::memcpy(dk + scalar_offset(), scalar, sizes_.scalar);
  if (batch_.dk_format != DkFormat::composite) return;
  const ScalarEncoding encoding = encoding_of(hybrid_.group);
  encoding.before.copy(reinterpret_cast<char*>(dk + hybrid_.composite_dk().group), encoding.before.size());
  encoding.after.copy(reinterpret_cast<char*>(dk + scalar_offset() + sizes_.scalar), encoding.after.size());
}

void Call::encaps(const Batch& b, std::size_t first, std::uint8_t* workspace) {
  const curve::In k = curve::to_const(scalars(first));
  const curve::Out element = at(b.c_out, hybrid_.c().group);
  group_.public_keys(b.count, k, element, workspace);
  for (std::size_t i = 0; i < b.count; ++i) {
    declassify(element[i], sizes_.element);  // what encapsulation publishes
    if (form_ != nullptr) elements_[first + i] = form_->element(b.key_of(i));
  }
  const curve::In ek = form_ != nullptr ? curve::In{nullptr, 0, elements_ + first} : at(b.ek, hybrid_.ek().group);
  group_.derive(b.count, k, ek, secrets(b, first), good_ + first, workspace);
  judge_secrets(first, b.count, ItemStatus::invalid_ek);
  if (messages_ == nullptr) return;
  for (std::size_t i = 0; i < b.count; ++i) {
    std::memcpy(message(first + i) + element_in_c_offset(), element[i], sizes_.element);
    std::memcpy(message(first + i) + element_in_ek_offset(), ek[i], sizes_.element);
  }
}

void Call::decaps(const Batch& b, std::size_t first, std::uint8_t* workspace) {
  const curve::In k = curve::to_const(scalars(first)), element = at(b.c, hybrid_.c().group);
  group_.derive(b.count, k, element, secrets(b, first), good_ + first, workspace);
  judge_secrets(first, b.count, ItemStatus::invalid_c);
  if (messages_ == nullptr) return;
  if (form_ == nullptr) group_.public_keys(b.count, k, messages(first, element_in_ek_offset()), workspace);
  for (std::size_t i = 0; i < b.count; ++i) {
    std::uint8_t* const to = message(first + i);
    std::memcpy(to + element_in_c_offset(), element[i], sizes_.element);
    if (form_ != nullptr) std::memcpy(to + element_in_ek_offset(), form_->element(b.key_of(i)), sizes_.element);
  }
}

void Call::prepare_group(std::size_t first, std::size_t count, std::uint8_t* workspace) {
  std::uint8_t* const keys = made_->group.data() + first * made_->stride;
  const curve::Out elements{keys + made_->element_offset, made_->stride};
  if (is(Operation::prepare_ek)) {
    const curve::In ek = at(slice(batch_, first, count).ek, hybrid_.ek().group);
    for (std::size_t i = 0; i < count; ++i) std::memcpy(elements[i], ek[i], sizes_.element);
    return check_elements(first, count);
  }
  find_scalars(first, count);
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(keys + i * made_->stride, scalars(first)[i], sizes_.scalar);
  }
  if (hybrid_.combines()) group_.public_keys(count, curve::to_const(scalars(first)), elements, workspace);
}

// SHA3-256 of the messages. Elements are hashed as received.
void Call::combine(std::size_t first, std::size_t count, std::uint8_t* workspace) {
  for (std::size_t i = first; i < first + count; ++i) {
    hybrid_.label.copy(reinterpret_cast<char*>(message(i) + label_offset()), hybrid_.label.size());
  }
  HashBatch hash;
  hash.function = HashFunction::sha3_256;
  hash.count = count;
  hash.message = {message(first), message_stride_, nullptr};
  hash.message_bytes = message_bytes();
  hash.digest = slice(batch_, first, count).K_out;
  hash.digest_bytes = hybrid_.K().bytes;
  backend_.hashes_.hash(hash, workspace);
}

// What the group says of items that ML-KEM has no complaint about.
void Call::settle() noexcept {
  for (std::size_t i = 0; i < batch_.count; ++i) {
    if (batch_.statuses[i] == item_ok) batch_.statuses[i] = verdicts_[i];
  }
}

// By the two threads that do the halves, of which the second goes on.
void Call::half_done() noexcept {
  if (halves_left_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (messages_ != nullptr && !has_failed()) run(&Call::combine, backend_.hashes_.lanes);
  if (has_failed()) {
    std::replace(batch_.statuses, batch_.statuses + batch_.count, item_ok, item_pending);
    whole_->slice_done(failure_.load(), text_of_failure());
  } else {
    settle();
    whole_->slice_done(status_, text_);
  }
  delete this;
}

std::size_t largest_workspace(const CpuKernels& hashes, const Groups& groups) noexcept {
  std::size_t bytes = hashes.hash_workspace_bytes;
  for (const auto& group : groups) bytes = group ? std::max(bytes, group->workspace_bytes()) : bytes;
  return bytes;
}

Groups make_groups(const HybridParts& parts) {
  Groups groups;
  groups[static_cast<std::size_t>(Group::x25519)] = curve::make_x25519(parts.x25519);
#ifdef WARPKEM_HAVE_OPENSSL
  for (const Group group : {Group::p256, Group::p384}) {
    groups[static_cast<std::size_t>(group)] = curve::make_nist(group);
  }
#endif
  return groups;
}

HybridBackend::HybridBackend(std::unique_ptr<Backend> ml_kem, const HybridParts& parts, WorkerPool& pool,
                             HybridOptions options)
    : ml_kem_(std::move(ml_kem)),
      hashes_(parts.hashes),
      pool_(pool),
      options_(options),
      is_device_(parts.is_device),
      groups_(make_groups(parts)),
      workspaces_(largest_workspace(hashes_, groups_)) {}

bool HybridBackend::supports(Operation operation, std::uint32_t algorithm, DkFormat format) const noexcept {
  const Algorithm* const a = find_algorithm(algorithm);
  if (a == nullptr) return false;
  const Hybrid* const hybrid = find_hybrid(algorithm);
  const OperationSpec& spec = spec_of(operation);
  if (spec.takes_dk_format && a->dk_record(format) == 0) return false;
  if (hybrid == nullptr) {
    return is_check_of_seeds(operation, format) || ml_kem_->supports(operation, algorithm, format);
  }
  if (ml_kem_->supports(operation, algorithm, format)) return true;
  if (group_of(*hybrid) == nullptr) return false;
  if (!spec.takes_dk_format) return ml_kem_->supports(operation, hybrid->ml_kem, format);
  const bool is_expanded = format == DkFormat::expanded;
  return (operation == Operation::check_dk && !is_expanded) ||
         ml_kem_->supports(operation, hybrid->ml_kem, is_expanded ? format : DkFormat::seed);
}

std::unique_ptr<KeyForm> HybridBackend::prepare(const Batch& batch) {
  if (find_hybrid(batch.algorithm) == nullptr || is_whole(batch)) return ml_kem_->prepare(batch);
  return Call(*this, batch, nullptr).prepare();
}

void HybridBackend::submit(const Batch& batch, Completion done) noexcept {
  if (find_hybrid(batch.algorithm) == nullptr) {
    if (!is_check_of_seeds(batch.operation, batch.dk_format)) return ml_kem_->submit(batch, done);
    std::memset(batch.statuses, item_ok, batch.count);
    return done.call(done.context, {});
  }
  if (is_whole(batch)) return ml_kem_->submit(batch, done);
  Whole* const whole = new (std::nothrow) Whole(done);
  if (whole == nullptr) return done.call(done.context, {Status::out_of_memory, "out of memory"});
  for (std::size_t first = 0; first < batch.count; first += slice_items) {
    whole->add_slice();
    try {
      (new Call(*this, slice(batch, first, std::min(slice_items, batch.count - first)), whole))->start();
    } catch (const std::bad_alloc&) {
      whole->slice_done(Status::out_of_memory, "out of memory");
      break;
    }
  }
  whole->slice_done(Status::ok, "");
}

}  // namespace

std::unique_ptr<Backend> with_hybrids(std::unique_ptr<Backend> ml_kem, const HybridParts& parts, WorkerPool& pool,
                                      HybridOptions options) {
  return std::make_unique<HybridBackend>(std::move(ml_kem), parts, pool, options);
}

}  // namespace warpkem::host
