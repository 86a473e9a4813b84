// Spare requests, by the slab. The pool grows as it must, and gives slabs back to the system when most of its requests
// are spare.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "host/serving/request.hpp"

namespace warpkem::host {

// Requests change hands in magazines of pointers, since what nobody used for a while is not in any cache: a list
// through the requests themselves would fetch one after the other. Each shard has one magazine that it takes from and
// puts into; the others are in the depot. Thread-safe.
class RequestPool {
 public:
  static constexpr std::size_t slab_requests = 64;
  static constexpr std::size_t num_shards = 8;
  // What is spare beyond that and as much again, in slabs, goes when it is also more than twice what is in use. Who
  // needs again what was given back has more kept for the next time.
  static constexpr std::size_t keep_least = 64, keep_most = 512;

  RequestPool();
  ~RequestPool();  // all requests are back
  RequestPool(const RequestPool&) = delete;
  RequestPool& operator=(const RequestPool&) = delete;

  // `n` live requests. Throws std::bad_alloc, and then took none.
  RequestChain get(std::size_t n);
  void put(RequestChain chain) noexcept;

  // The place that a handle names. While one of these exists, no memory of the pool goes away: the request may be
  // looked at, also when it was put back meanwhile.
  class Found {
   public:
    Found(RequestPool& pool, Request* request) noexcept : pool_(pool), request_(request) {}
    Found(const Found&) = delete;
    Found& operator=(const Found&) = delete;
    ~Found() { pool_.looks_.fetch_sub(1); }
    Request* get() const noexcept { return request_; }

   private:
    RequestPool& pool_;
    Request* const request_;
  };
  // Marks a live request of that handle as to be cancelled; null if it is no longer live.
  Found ask_cancel(std::uint64_t handle) noexcept;

  // How many requests there is memory for, and how many slabs were ever made.
  std::size_t capacity() noexcept;
  std::size_t slabs_made() noexcept;

 private:
  struct Slab {
    std::array<Request, slab_requests> requests;
  };
  // Pages of their own: the allocator might keep what it gets back.
  struct Unmap {
    void operator()(Slab* slab) const noexcept;
  };
  using MappedSlab = std::unique_ptr<Slab, Unmap>;
  struct Place {
    MappedSlab slab;                // null: given back
    std::uint32_t generation = 1;   // that the requests of the next slab here begin with
    std::uint32_t next_vacant = 0;  // as a number from 1 on
  };
  struct Magazine {
    std::unique_ptr<Magazine> next;
    std::size_t size = 0;
    std::array<Request*, slab_requests> requests;
  };
  struct Stack {
    std::unique_ptr<Magazine> first;
    std::size_t size = 0;

    void push(std::unique_ptr<Magazine> magazine) noexcept;
    std::unique_ptr<Magazine> pop() noexcept;
    ~Stack() {
      while (first) pop();
    }
  };
  struct alignas(64) Shard {
    std::mutex mutex;
    std::unique_ptr<Magazine> loaded;
  };

  Shard& shard() noexcept;
  void change_for_full(std::unique_ptr<Magazine>& loaded);
  void change_for_empty(std::unique_ptr<Magazine>& loaded) noexcept;
  void trim() noexcept;
  void give_back(Stack& spare);
  // With mutex_ held.
  void add_slab();
  bool has_too_many() const noexcept;
  bool trim_is_due() const noexcept;
  std::size_t in_use() const noexcept { return num_slabs_ - full_.size; }

  std::array<Shard, num_shards> shards_;
  std::atomic<unsigned> looks_{0};  // how many Founds there are; raised under mutex_
  std::atomic<bool> trims_{false};  // changed under mutex_; true: somebody trims, or it is time to

  std::mutex mutex_;  // guards what follows; taken after a shard's
  Stack full_, empty_;
  std::vector<Place> places_;
  std::uint32_t first_vacant_ = 0;
  std::size_t num_slabs_ = 0, slabs_made_ = 0;
  bool trimming_ = false;
  std::size_t keep_ = keep_least;
  std::size_t given_back_ = 0;  // slabs, of which so many were not needed again so far
  // A trim that had to leave too many, since a request of each was in use, is repeated when most of those are back,
  // or after as many exchanges as there are magazines to look through.
  std::size_t trim_below_ = SIZE_MAX, exchanges_ = 0;
};

}  // namespace warpkem::host
