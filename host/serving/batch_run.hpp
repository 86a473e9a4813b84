// One batch on its way: the requests that are in it, the tables of pointers that a backend gets, the randomness that
// was drawn for it, and what was tried. Pooled; a batch that goes to a second backend gives it the same seeds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "host/core/batch.hpp"
#include "host/core/random.hpp"
#include "host/core/secure.hpp"
#include "host/engine/engine.hpp"
#include "host/engine/pairwise.hpp"
#include "host/serving/batch_former.hpp"

namespace warpkem::host {

class Scheduler;
struct Executor;

// A batch's arrays as tables of pointers to records that lie anywhere.
struct Tables {
  std::array<std::vector<const std::uint8_t*>, 2> in;
  std::array<std::vector<std::uint8_t*>, 2> out;
  std::vector<std::uint32_t> index;
  std::vector<std::uint8_t> statuses;

  void resize(std::size_t items);
};

class BatchRun {
 public:
  // A key generation may end with a test of its pairs (engine/pairwise.hpp).
  enum class Stage : std::uint8_t { first, again, check, pair_encaps, pair_decaps };

  std::vector<Piece> pieces;
  std::uint64_t taken_ns = 0;     // when it was formed
  std::uint64_t began_ns = 0;     // when its present backend got it
  std::uint64_t service_ns = 0;   // what backends took for its results
  std::uint64_t expected_ns = 0;  // its part of what its executor is expected to be busy for
  Scheduler* scheduler = nullptr;
  BatchRun* next = nullptr;      // waiting for another backend
  Executor* executor = nullptr;  // which runs it now
  Engine::Slot* slot = nullptr;  // where it is now; null: nowhere, its items fail
  Engine::Slot* done_by = nullptr;
  std::uint32_t tried = 0;  // slots that failed it, a bit each
  Stage stage = Stage::first;
  Status failure = Status::backend_failed;  // what its items get if nobody can do them

  // Draws what is missing and lays out the tables. False: no randomness was to be had, and the requests that want some
  // have failed. Throws std::bad_alloc.
  bool build(Random& random);
  bool built() const noexcept { return items_ != 0; }
  std::size_t items() const noexcept { return items_; }
  const Kind& kind() const noexcept { return kind_; }
  // What backends do of it in this stage.
  Kind stage_kind() const noexcept;

  // What the backend of this stage gets: everything, what is still pending, or the sample to be recomputed.
  Batch batch() noexcept;
  // After a backend's last write. Returns how many items it left undone.
  std::size_t collect() noexcept;
  std::size_t batch_items() const noexcept { return stage == Stage::first ? items_ : chosen_.size(); }
  bool tests_pairs() const noexcept { return stage == Stage::pair_encaps || stage == Stage::pair_decaps; }

  std::size_t chosen_items() const noexcept { return chosen_.size(); }

  // Prepares the next stage, or throws std::bad_alloc and stays in this one. choose() takes each done item with
  // probability `chance` / 2^32; false: none.
  void retry();
  bool choose(std::uint32_t chance, std::uint64_t& dice);
  void check_again() noexcept;  // elsewhere: the last one did not do it
  // How many of the recomputed items differ from the results; their comparison takes constant time.
  std::size_t compare() noexcept;
  // The test of the chosen key pairs, which are numbered from `first_pair` on. prepare_pairs() lays it out and draws
  // messages; it throws Error or std::bad_alloc. judge_pairs() gives those that fail their status and returns how many
  // do. fail_pairs() ends those that could not be tested.
  void expect_pairs(std::uint64_t first_pair) noexcept;
  bool are_pairs_prepared() const noexcept { return are_pairs_prepared_; }
  void prepare_pairs(const PairwiseChoice& choice, Random& random);
  void go_on_with_decaps() noexcept { stage = Stage::pair_decaps; }
  std::size_t judge_pairs() noexcept;
  void fail_pairs(const PairwiseChoice& choice, Status status) noexcept;
  // Nothing of what was computed may be used.
  void distrust() noexcept;
  void fail_pending(Status status) noexcept;

  // Gives requests their items' statuses; calls finished(request) for each that has no item left.
  template <class F>
  void scatter(F finished) {
    std::size_t at = 0;
    for (const Piece& piece : pieces) {
      if (settle(piece, at)) finished(piece.request);
      at += piece.count;
    }
  }

  void reset_secrets() noexcept;
  void reset() noexcept;

 private:
  bool settle(const Piece& piece, std::size_t at) noexcept;
  Batch view(Tables& tables, std::size_t items) noexcept;
  std::array<std::size_t, 2> out_records() const noexcept;
  void gather(const std::vector<std::uint32_t>& chosen);

  Kind kind_;
  Batch bare_;  // without arrays
  std::size_t items_ = 0;
  Tables all_;
  std::vector<std::uint8_t> decided_;     // who decides the item, or has: a backend, its key, or the engine
  std::vector<std::uint8_t> item_slots_;  // the number of the slot that had the item last
  std::vector<std::uint32_t> chosen_;     // items of the later stages
  Tables part_;
  SecureBuffer drawn_, recomputed_;
  std::size_t drawn_bytes_ = 0, recomputed_bytes_ = 0;  // what a secret may be in
  PairwiseTest pairs_;
  std::uint64_t first_pair_ = 0;
  bool are_pairs_prepared_ = false;
};

}  // namespace warpkem::host
