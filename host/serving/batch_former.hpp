// What waits, by kind, and whose turn it is. Plain data structures under the scheduler's lock: no thread, no clock of
// its own, so that a test can step it. Nothing here allocates but the constructor: a request that was taken off an
// inbox always finds its place.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "host/core/kinds.hpp"
#include "host/serving/bucket.hpp"
#include "host/serving/request.hpp"

namespace warpkem::host {

// Items [first, first + count) of a request, as part of a batch.
struct Piece {
  Request* request;
  std::uint32_t first, count;
};

class BatchFormer {
 public:
  // While both classes wait, interactive work gets this many times what bulk does. While others wait, large requests
  // of a bucket have a right to one item of so many.
  static constexpr std::uint64_t bulk_share = 8;
  static constexpr std::size_t large_share = 4;

  // Has buckets for the kinds that are numbered there, and for no other.
  explicit BatchFormer(const Kinds& kinds = Kinds());
  BatchFormer(const BatchFormer&) = delete;
  BatchFormer& operator=(const BatchFormer&) = delete;

  void add(Request* request, bool is_large) noexcept;  // with items, on no list
  void remove(Request* request) noexcept;              // which is in a bucket

  std::size_t items() const noexcept { return items_; }
  std::size_t items(RequestClass c) const noexcept { return class_items_[static_cast<std::size_t>(c)]; }
  bool has_small(RequestClass c) const noexcept {
    return class_items_[static_cast<std::size_t>(c)] != class_large_items_[static_cast<std::size_t>(c)];
  }
  // The first of the buckets that are not empty; null: all are.
  Bucket* first_active() const noexcept { return first_active_; }

  // Of the buckets that `accept`s, the one whose last turn is longest ago: kinds go in turn, each with what came since
  // its last, so that nobody's batches become small and dear by being favoured. While both classes wait, bulk has its
  // turn after interactive work was given `bulk_share` times what bulk was.
  template <class Accept>
  Bucket* next(Accept accept) const {
    Bucket* best[2] = {nullptr, nullptr};
    const bool bulk_is_due = class_served_ns_[0] >= bulk_share * class_served_ns_[1];
    for (Bucket* bucket = first_active_; bucket != nullptr; bucket = bucket->next_active) {
      Bucket*& b = best[static_cast<std::size_t>(bucket->request_class)];
      if ((b == nullptr || bucket->turn < b->turn) && accept(*bucket)) b = bucket;
    }
    if (best[0] == nullptr || best[1] == nullptr) return best[0] != nullptr ? best[0] : best[1];
    return best[bulk_is_due ? 1 : 0];
  }

  // Takes up to `most` items from the bucket's head, and up to `slack` more if they follow for the same queue: who gets
  // completions in two parts is woken twice. Requests that were cancelled or have expired go to `ended` (with `fatal`
  // set) instead. A request that is not taken whole stays at the head. Of large requests one has its turn, with all
  // that the others leave of the batch; in the long run they leave at least the part that is `large_share`'s. `pieces`
  // has room for one of every item.
  void take(Bucket& bucket, std::size_t most, std::size_t slack, std::uint64_t now_ns, std::vector<Piece>& pieces,
            RequestChain& ended) noexcept;
  // Ends the requests at the bucket's head that have its first `items`.
  void refuse(Bucket& bucket, std::size_t items, Status fatal, RequestChain& ended) noexcept;
  void charge(Bucket& bucket, std::uint64_t service_ns) noexcept;  // for what was just taken

  // Ends every request that `fatal_of(request)` gives a status for.
  template <class FatalOf>
  void sweep(RequestChain& ended, FatalOf fatal_of) {
    for (Bucket* bucket = first_active_; bucket != nullptr;) {
      Bucket* const next_bucket = bucket->next_active;  // this one may leave the list
      for (Request* r = bucket->first; r != nullptr;) {
        Request* const next = r->next;
        if (const Status fatal = fatal_of(*r); fatal != Status::ok) {
          remove(r);
          if (end(r, fatal)) ended.push_back(r);
        }
        r = next;
      }
      bucket = next_bucket;
    }
  }

  // Marks a request as failed as a whole and gives up the items that no batch has. True: nobody else has any either.
  static bool end(Request* request, Status fatal) noexcept;

 private:
  Bucket& bucket_of(const Request& request) noexcept;
  static void link(Bucket& bucket, Request* request, Request* behind) noexcept;
  static void unlink(Bucket& bucket, Request* request) noexcept;
  void subtract(Bucket& bucket, const Request& request, std::size_t items) noexcept;

  const Kinds kinds_;
  std::vector<Bucket> fixed_;  // by kind, dk format and class
  Bucket* first_active_ = nullptr;
  Bucket* last_active_ = nullptr;
  std::size_t items_ = 0;
  std::array<std::size_t, 2> class_items_{}, class_large_items_{};
  std::array<std::uint64_t, 2> class_served_ns_{0, 1};  // while both wait
  bool both_wait_ = false;                              // when the last batch was taken
  std::uint64_t turns_ = 0;
};

}  // namespace warpkem::host
