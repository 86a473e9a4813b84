#include "host/serving/batch_run.hpp"

#include <string.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <utility>

#include "host/core/ct.hpp"
#include "host/core/operation.hpp"
#include "host/engine/key_set.hpp"

namespace warpkem::host {

namespace {

// Whose verdict an item's status is.
constexpr std::uint8_t by_backend = 0, by_key = 1, by_engine = 2;

}  // namespace

void Tables::resize(std::size_t items) {
  for (auto& table : in) table.resize(items);
  for (auto& table : out) table.resize(items);
  index.resize(items);
  statuses.resize(items);
}

bool BatchRun::build(Random& random) {
  const Request& example = *pieces.front().request;
  kind_ = example.work.kind();
  bare_ = example.work.without_arrays();
  std::size_t items = 0;
  for (const Piece& piece : pieces) items += piece.count;
  all_.resize(items);
  decided_.assign(items, by_backend);
  item_slots_.resize(items);

  const OperationSpec& spec = spec_of(kind_.operation);
  const bool has_key = spec.inputs(kind_.prepared)[1] != Array::none;
  const bool has_out[2] = {spec.out[0] != Array::none, spec.out[1] != Array::none};
  // Seeds and m that requests do not bring.
  const std::size_t record = record_bytes(*find_algorithm(kind_.algorithm), spec.drawn, bare_.dk_format);
  std::size_t bytes = 0;
  std::uint8_t refusal = item_ok;  // what the items get that want randomness
  for (const Piece& piece : pieces) {
    if (!piece.request->work.in[0].present()) bytes += piece.count * record;
  }
  if (bytes != 0) {
    if (drawn_.size() < bytes) drawn_ = SecureBuffer(bytes);
    drawn_bytes_ = bytes;  // of a buffer that is as large
    try {
      random.fill(drawn_.data(), drawn_bytes_);
    } catch (const Error& error) {
      refusal = static_cast<std::uint8_t>(error.status());
    }
  }
  const std::uint8_t* drawn = drawn_.data();
  std::size_t at = 0;
  for (const Piece& piece : pieces) {
    const Work& from = piece.request->work;
    const bool draws = !from.in[0].present();
    for (std::uint32_t i = piece.first; i < piece.first + piece.count; ++i, ++at) {
      all_.in[0][at] = draws ? std::exchange(drawn, drawn + record) : from.in[0][i];
      if (has_key) all_.in[1][at] = from.in[1][i];
      if (has_out[0]) all_.out[0][at] = from.out[0][i];
      if (has_out[1]) all_.out[1][at] = from.out[1][i];
      all_.statuses[at] = item_pending;
      std::uint8_t verdict = draws ? refusal : item_ok, verdict_by = by_engine;
      if (bare_.keys != nullptr) {
        const std::size_t key = from.key_of(i);
        all_.index[at] = static_cast<std::uint32_t>(key);
        if (verdict == item_ok) verdict = bare_.keys->verdict(key), verdict_by = by_key;
      }
      if (verdict == item_ok) continue;
      all_.statuses[at] = verdict;
      decided_[at] = verdict_by;
    }
  }
  items_ = items;
  // Items that are decided already do not go to a backend, which expects good indices only.
  if (std::ranges::any_of(decided_, [](std::uint8_t by) { return by != by_backend; })) retry();
  return refusal == item_ok;
}

Batch BatchRun::view(Tables& tables, std::size_t items) noexcept {
  Batch batch = bare_;
  const OperationSpec& spec = spec_of(kind_.operation);
  const std::array<Array, 2> inputs = spec.inputs(kind_.prepared);
  for (std::size_t i = 0; i < 2; ++i) {
    if (inputs[i] != Array::none) (batch.*input_of(inputs[i])).table = tables.in[i].data();
    if (spec.out[i] != Array::none) (batch.*output_of(spec.out[i])).table = tables.out[i].data();
  }
  if (bare_.keys != nullptr) batch.index = tables.index.data();
  batch.statuses = tables.statuses.data();
  batch.count = items;
  return batch;
}

// Bytes of a record of each output; 0: there is none.
std::array<std::size_t, 2> BatchRun::out_records() const noexcept {
  const auto& out = spec_of(kind_.operation).out;
  const Algorithm& algorithm = *find_algorithm(kind_.algorithm);
  return {record_bytes(algorithm, out[0], bare_.dk_format), record_bytes(algorithm, out[1], bare_.dk_format)};
}

Kind BatchRun::stage_kind() const noexcept {
  if (!tests_pairs()) return kind_;
  if (stage == Stage::pair_encaps) return {Operation::encaps, kind_.algorithm};
  return {Operation::decaps, kind_.algorithm, kind_.dk_format};
}

Batch BatchRun::batch() noexcept {
  if (tests_pairs()) return stage == Stage::pair_encaps ? pairs_.encaps() : pairs_.decaps();
  return stage == Stage::first ? view(all_, items_) : view(part_, chosen_.size());
}

std::size_t BatchRun::collect() noexcept {
  if (tests_pairs()) return pairs_.undone(stage == Stage::pair_decaps);
  const auto number = static_cast<std::uint8_t>(slot->number);
  if (stage == Stage::first) {
    std::ranges::fill(item_slots_, number);  // what it left undone another will do
  } else if (stage == Stage::again) {
    for (std::size_t i = 0; i < chosen_.size(); ++i) {
      all_.statuses[chosen_[i]] = part_.statuses[i];
      item_slots_[chosen_[i]] = number;
    }
  }
  const auto& statuses = stage == Stage::check ? part_.statuses : all_.statuses;
  return static_cast<std::size_t>(std::ranges::count(statuses, item_pending));
}

void BatchRun::gather(const std::vector<std::uint32_t>& chosen) {
  part_.resize(chosen.size());
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const std::uint32_t from = chosen[i];
    for (std::size_t k = 0; k < 2; ++k) {
      part_.in[k][i] = all_.in[k][from];
      part_.out[k][i] = all_.out[k][from];
    }
    part_.index[i] = all_.index[from];
    part_.statuses[i] = item_pending;
  }
}

void BatchRun::retry() {
  chosen_.clear();
  for (std::uint32_t i = 0; i < items_; ++i) {
    if (all_.statuses[i] == item_pending) chosen_.push_back(i);
  }
  gather(chosen_);
  stage = Stage::again;
}

bool BatchRun::choose(std::uint32_t chance, std::uint64_t& dice) {
  chosen_.clear();
  for (std::uint32_t i = 0; i < items_; ++i) {
    dice ^= dice << 13, dice ^= dice >> 7, dice ^= dice << 17;
    if (decided_[i] == by_backend && (dice >> 32) <= chance) chosen_.push_back(i);
  }
  if (chosen_.empty()) return false;
  gather(chosen_);
  const std::array<std::size_t, 2> records = out_records();
  const std::size_t bytes = chosen_.size() * (records[0] + records[1]);
  if (recomputed_.size() < bytes) recomputed_ = SecureBuffer(bytes);
  recomputed_bytes_ = std::max(recomputed_bytes_, bytes);
  std::uint8_t* at = recomputed_.data();
  for (std::size_t k = 0; k < 2; ++k) {
    if (records[k] == 0) continue;
    for (std::size_t i = 0; i < chosen_.size(); ++i, at += records[k]) part_.out[k][i] = at;
  }
  stage = Stage::check;
  return true;
}

void BatchRun::check_again() noexcept { std::ranges::fill(part_.statuses, item_pending); }

std::size_t BatchRun::compare() noexcept {
  const std::array<std::size_t, 2> records = out_records();
  std::size_t differ = 0;
  for (std::size_t i = 0; i < chosen_.size(); ++i) {
    const std::uint32_t item = chosen_[i];
    unsigned difference = part_.statuses[i] ^ all_.statuses[item];
    // What a failed item's outputs hold is nobody's business: the engine clears them.
    const bool compare_outputs = all_.statuses[item] == item_ok;
    for (std::size_t k = 0; k < 2 && compare_outputs; ++k) {
      const std::uint8_t *a = part_.out[k][i], *b = all_.out[k][item];
      for (std::size_t j = 0; j < records[k]; ++j) difference |= static_cast<unsigned>(a[j] ^ b[j]);
    }
    declassify(&difference, sizeof difference);  // whether a backend erred is not the caller's secret
    differ += difference != 0 ? 1 : 0;
  }
  return differ;
}

void BatchRun::expect_pairs(std::uint64_t first_pair) noexcept {
  stage = Stage::pair_encaps;
  first_pair_ = first_pair;
  chosen_.clear();
  tried = 0;
}

void BatchRun::prepare_pairs(const PairwiseChoice& choice, Random& random) {
  chosen_.clear();
  for (std::uint32_t i = 0; i < items_; ++i) {
    if (all_.statuses[i] == item_ok && choice.is_chosen(first_pair_ + i)) chosen_.push_back(i);
  }
  Batch keygen = view(all_, items_);
  keygen.on_one_thread = true;
  pairs_.begin(keygen, chosen_, random);
  are_pairs_prepared_ = true;
}

std::size_t BatchRun::judge_pairs() noexcept {
  std::size_t bad = 0;
  for (std::size_t i = 0; i < chosen_.size(); ++i) {
    if (pairs_.agrees(i)) continue;
    all_.statuses[chosen_[i]] = static_cast<std::uint8_t>(ItemStatus::pairwise_failed);
    ++bad;
  }
  return bad;
}

void BatchRun::fail_pairs(const PairwiseChoice& choice, Status status) noexcept {
  for (std::size_t i = 0; i < items_; ++i) {
    if (all_.statuses[i] != item_ok || !choice.is_chosen(first_pair_ + i)) continue;
    all_.statuses[i] = static_cast<std::uint8_t>(status);
    decided_[i] = by_engine;
  }
}

void BatchRun::distrust() noexcept {
  for (std::size_t i = 0; i < items_; ++i) {
    if (decided_[i] == by_backend) all_.statuses[i] = item_pending;
  }
}

void BatchRun::fail_pending(Status status) noexcept {
  for (std::size_t i = 0; i < items_; ++i) {
    if (all_.statuses[i] != item_pending) continue;
    all_.statuses[i] = static_cast<std::uint8_t>(status);
    decided_[i] = by_engine;
  }
}

bool BatchRun::settle(const Piece& piece, std::size_t at) noexcept {
  Request& r = *piece.request;
  std::uint32_t failed = 0;
  for (std::uint32_t i = 0; i < piece.count; ++i) {
    // Without tables nothing was computed: the batch could not even be laid out.
    const std::uint8_t status = built() ? all_.statuses[at + i] : static_cast<std::uint8_t>(failure);
    const std::uint32_t item = piece.first + i;
    if (r.work.statuses != nullptr) r.work.statuses[item] = status;
    if (status == item_ok) {
      if (r.items_by_backend == nullptr) continue;
      // As std::atomic_ref does, which libc++ has only since version 19.
      __atomic_fetch_add(&r.items_by_backend[item_slots_[at + i]], std::uint64_t{1}, __ATOMIC_RELAXED);
      continue;
    }
    ++failed;
    if (r.count == 1) r.last_failure = status;
    r.work.zero_outputs(item);
    // What a backend or a key says of an item is the item's own affair, whatever the status.
    const bool ends_request = !built() || decided_[at + i] == by_engine;
    if (ends_request) r.fatal.store(status, std::memory_order_relaxed);
  }
  if (piece.count == r.count) {  // nobody else has a part of it
    r.failed.store(failed, std::memory_order_relaxed);
    r.left.store(0, std::memory_order_relaxed);
    return true;
  }
  if (failed != 0) r.failed.fetch_add(failed, std::memory_order_relaxed);
  return r.left.fetch_sub(piece.count, std::memory_order_acq_rel) == piece.count;
}

void BatchRun::reset_secrets() noexcept {
  if (drawn_bytes_ != 0) wipe(drawn_.data(), drawn_bytes_);
  if (recomputed_bytes_ != 0) wipe(recomputed_.data(), recomputed_bytes_);
  drawn_bytes_ = recomputed_bytes_ = 0;
  pairs_.wipe_secrets();
}

void BatchRun::reset() noexcept {
  pieces.clear();
  items_ = 0;
  chosen_.clear();
  executor = nullptr;
  slot = done_by = nullptr;
  tried = 0;
  stage = Stage::first;
  are_pairs_prepared_ = false;
  failure = Status::backend_failed;
  service_ns = 0;
}

}  // namespace warpkem::host
