// A thread of serve-bench that submits requests and takes their completions.
#pragma once

#include <warpkem/async.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <random>
#include <vector>

#include "tools/warpkem/serve/arrivals.hpp"
#include "tools/warpkem/serve/options.hpp"
#include "tools/warpkem/serve/request.hpp"

namespace warpkem::tool {

// What the producers of a load share.
struct LoadState {
  const ServeOptions& options;
  warpkem_engine* engine;
  RequestMix mix;
  bool computes;  // results mean something
  double drawn;   // fraction of key generations and encapsulations
  warpkem_engine* portable;
  std::atomic<std::int64_t> left;  // requests to be submitted, if they are counted
  Arrivals arrivals;
  std::atomic<bool> stop{false};
};

class Producer {
 public:
  Producer(LoadState& load, std::size_t number, std::size_t num_requests);
  ~Producer();
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;

  // Submits until the load ends, and waits for what is under way.
  void run();

  ServeReport report;  // of this producer's requests

 private:
  struct Delivered {
    warpkem_completion completion;
    std::uint64_t at_ns;
  };

  void closed_loop();
  void open_loop();

  bool roll(double p) { return p > 0 && std::uniform_real_distribution<>()(random_) < p; }
  std::size_t laid_out() const { return batches_.size() - first_; }
  // How many requests a submission can have.
  std::size_t room() const;
  // Of `wanted` requests those that the load still lacks.
  std::size_t may_submit(std::size_t wanted);
  void lay_out();
  // Submits `wanted` requests, at most room(). Request i was due at intended_ns(i). Those that the engine refuses stay
  // laid out for the next submission, so that an overloaded machine does that work once.
  template <class IntendedNs>
  void submit(std::size_t wanted, IntendedNs intended_ns);
  void give_up_refused();

  std::size_t collect(std::uint64_t timeout_us);
  std::size_t take_back_delivered();
  void take_back(const warpkem_completion& completion, std::uint64_t now);
  void check_results(Request& request, const warpkem_completion& completion);

  LoadState& load_;
  const std::size_t number_;
  std::mt19937_64 random_;
  warpkem_queue* queue_ = nullptr;
  std::vector<Request> requests_;
  std::vector<std::size_t> free_, chosen_;
  std::vector<warpkem_batch> batches_;
  std::size_t first_ = load_.options.hand_over;  // from there on requests are laid out in batches_ and chosen_
  std::vector<warpkem_completion> completions_;
  std::vector<warpkem_request> handles_;
  std::mutex delivered_mutex_;  // guards delivered_
  std::vector<Delivered> delivered_, taken_;
  std::array<std::uint8_t, 32> last_drawn_{};
  warpkem_submit_options options_{};
};

}  // namespace warpkem::tool
