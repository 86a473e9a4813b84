// From checked batches to requests that the scheduler has: their times, the bounds, waiting for room, handing over.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "host/core/batch.hpp"
#include "host/serving/completion_queue.hpp"
#include "host/serving/scheduler.hpp"

namespace warpkem::host {

struct SubmitOptions {
  CompletionQueue* queue = nullptr;  // or
  CompletionFunction callback = nullptr;
  void* context = nullptr;
  RequestClass request_class = RequestClass::interactive;
  std::uint64_t max_delay_us = 0;  // 0: the engine's
  std::uint64_t deadline_us = 0;   // 0: none
  std::uint64_t timeout_us = 0;    // how long to wait for room
  bool will_wait = false;          // a wait on the queue follows, which wakes the engine or runs the request
};

// What the submitter alone knows of a request.
struct SubmitterData {
  void* user_data = nullptr;
  std::size_t* failed = nullptr;
  std::uint64_t* items_by_backend = nullptr;
};

// One call's. What it throws is an Error or std::bad_alloc, and then it took none of the requests that it was given.
class Submission {
 public:
  Submission(Scheduler& scheduler, const SubmitOptions& options) noexcept
      : scheduler_(scheduler), options_(options), now_ns_(scheduler.now_ns()) {}

  struct Result {
    Status status = Status::ok;
    const char* why = "";  // valid until the next call
  };

  // `count` of the batch is below 2^32.
  void fill(Request& request, const Batch& batch, const SubmitterData& data) const noexcept;
  // Hands over filled requests: as many as there is room for, and the rest as room appears. What is not taken is given
  // back, and counted as refused. `handles` and `submitted` may be null.
  Result submit(RequestChain filled, std::uint64_t* handles, std::size_t* submitted);
  // Counts requests that are not even looked at, because there is no room.
  Result refuse(std::size_t requests, const char* why = nullptr) noexcept;
  // Gives back requests that were filled.
  void give_back(RequestChain filled) noexcept;

 private:
  void hand_over(RequestChain admitted, std::uint64_t*& handles, std::size_t* submitted);
  Result refuse_too_large(const Request& request, std::size_t requests);

  Scheduler& scheduler_;
  const SubmitOptions& options_;
  const std::uint64_t now_ns_;
  std::string text_;
};

}  // namespace warpkem::host
