// The scheduler: gathers submitted requests into batches and sees that each is completed exactly once.
//
// A request goes inbox -> bucket -> batch -> completion. Submitting threads only push onto an inbox shard. Executors (a
// thread for every core that may work, and one for every device) pull: an executor that is free drains the inboxes,
// picks the bucket whose turn it is, takes a batch of it and runs it, or hands it to its device. So a batch is as large
// as what came while the executors were busy, and nothing waits while one is idle. What a backend fails, or computes
// wrongly, goes to the executors again, for another backend.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "host/engine/engine.hpp"
#include "host/serving/batch_former.hpp"
#include "host/serving/batch_run.hpp"
#include "host/serving/clock.hpp"
#include "host/serving/completion_queue.hpp"
#include "host/serving/cost_model.hpp"
#include "host/serving/executor.hpp"
#include "host/serving/metrics.hpp"
#include "host/serving/request.hpp"
#include "host/serving/request_store.hpp"

namespace warpkem::host {

enum class LogLevel : std::uint32_t { info = 1, warning = 2 };

struct SchedulerOptions {
  std::size_t most_items = 65536;
  std::size_t most_bytes = std::size_t{256} << 20;
  std::uint64_t max_delay_ns = 50'000;
  std::size_t batch_items = 0;            // of a batch at the most; 0: from the cost model
  std::uint64_t bulk_cut_ns = 2'000'000;  // what a bulk batch may add to waiting interactive work
  double device_sentinel = 1.0 / 4096;    // fraction of items that are recomputed
  double cpu_sentinel = 0;
  LogFunction log = nullptr;
  void* log_context = nullptr;
  bool threads = true;              // false: the executors move when step() is called
  Clock* clock = nullptr;           // null: the machine's
  bool manual_calibration = false;  // devices are not measured at the start
};

class Scheduler final : public QueueServer {
 public:
  Scheduler(Engine& engine, const SchedulerOptions& options);
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;
  ~Scheduler();  // shuts down, aborting

  const std::shared_ptr<RequestStore>& store() const noexcept { return store_; }
  const std::shared_ptr<SchedulerLink>& link() const noexcept { return link_; }
  Metrics& metrics() noexcept { return metrics_; }
  std::uint64_t now_ns() const noexcept { return clock_.now_ns(); }
  const SchedulerOptions& options() const noexcept { return options_; }
  bool forked() const noexcept { return engine_.forked(); }

  // Takes requests that are admitted and announced, in order. `wake` false: a wait follows that runs them or wakes.
  // Throws Error(aborted) if shut down, Error(out_of_memory) or std::bad_alloc if its threads cannot be started, and
  // then took none. What it took is completed whatever becomes of the memory: the threads need none to end a request.
  void submit(RequestChain requests, bool wake);
  // Only a request; false: there is no such request any more.
  bool cancel(std::uint64_t handle);
  void cancel_all(const CompletionQueue& queue) override;

  // Drain: everything that was submitted is finished first. Abort: what no backend has completes as aborted. Either way
  // nothing can be submitted any more and every request has completed when this returns; completions stay in their
  // queues. A drain that is under way becomes an abort when somebody calls for that.
  void shut_down(bool drain);
  bool closed() const noexcept { return closed_.load(); }

  bool help(const CompletionQueue& queue) override;
  void wake_executor() noexcept override;

  void quarantine(Engine::Slot& slot, const char* why) noexcept;
  void take_back(Engine::Slot& slot);

  // Whether this thread is in a callback of any engine, or of the one whose requests the store has: that must not wait
  // for what it holds up.
  static bool in_callback() noexcept;
  static bool in_callback_of(const RequestStore* store) noexcept;
  // Returns when nothing is under way, callbacks included.
  void await_idle();

  // Without threads: lets every free executor take one batch. Returns whether any did, and when to look again at the
  // latest.
  bool step(std::uint64_t& next_ns);
  CostModel& cost_model(const Engine::Slot& slot) { return *costs_[slot.number]; }
  std::size_t queued();

 private:
  static constexpr std::size_t num_shards = 8;
  struct alignas(64) Inbox {
    std::atomic<Request*> last{nullptr};  // linked from the newest to the oldest
  };
  enum class Mode { open, drain, abort };

  // All with mutex_ held.
  void start_threads();
  void drain_inboxes() noexcept;
  void sweep(std::uint64_t now) noexcept;  // ends what has expired, or everything when aborting
  void give_up_rework() noexcept;
  std::uint64_t full_batch(const Executor& executor, const Cost& cost, const Engine::Slot& slot) const noexcept;
  BatchRun* take(Executor& executor, std::uint64_t now, std::uint64_t& next) noexcept;
  BatchRun* take_rework(Executor& executor, std::uint64_t now) noexcept;
  static bool may_rework(const Engine::Slot& slot, const BatchRun& run) noexcept;
  Engine::Slot* fresh_slot(const Executor& executor, const Kind* kind, std::uint64_t now) const noexcept;
  void leave_to_another(const Executor& executor, const Kind& kind, std::uint64_t now, std::uint64_t& next) noexcept;
  bool nobody_left(const Kind& kind) const noexcept;  // for fresh work
  bool can_rework(const BatchRun& run) const noexcept;
  std::uint64_t opens_ns(const Executor& executor, const Engine::Slot& slot, std::uint64_t now) const noexcept;
  bool worth(Executor& executor, Engine::Slot& slot, const Bucket& bucket, std::uint64_t opens_ns, std::uint64_t now,
             std::uint64_t& next) noexcept;
  bool is_large(const Request& request) const noexcept;
  bool is_cut(const Bucket& bucket, const Cost& cost, std::uint64_t now) const noexcept;
  struct Portion {
    std::size_t most, slack;  // as BatchFormer::take() wants them
  };
  Portion portion(const Executor& executor, const Engine::Slot& slot, const Bucket& bucket,
                  std::uint64_t now) const noexcept;
  Cost cost(const Engine::Slot& slot, const Bucket& bucket) const noexcept;
  // A spare run with room for that many pieces, or fewer if memory is short; null: for none.
  BatchRun* spare_run(std::size_t pieces) noexcept;
  void begin(Executor* executor, BatchRun& run, std::uint64_t now) noexcept;
  void wake(Executor& executor) noexcept;
  void wake_all() noexcept;
  bool usable(const Engine::Slot& slot, std::uint64_t now) const noexcept;
  bool inboxes_empty() const noexcept;
  std::uint64_t expected_end(const Executor& executor, const Engine::Slot& slot, const Bucket& bucket,
                             std::uint64_t now) const noexcept;

  // Without it.
  void executor_main(Executor& executor);
  void timer_main();
  void execute(BatchRun& run) noexcept;
  void finish(BatchRun& run, const Outcome& outcome) noexcept;
  void finish_or_throw(BatchRun& run, const Outcome& outcome);
  void resolve(BatchRun& run) noexcept;  // nobody else can do what is left of it
  void complete(BatchRun& run) noexcept;
  void complete_or_test(BatchRun& run) noexcept;
  void deliver(RequestChain ended) noexcept;
  void conclude(Request& request) noexcept;
  void call_back(RequestChain chain) noexcept;
  void rework(BatchRun& run) noexcept;   // elsewhere, or resolve() if there is no other place
  void release(BatchRun& run) noexcept;  // it is spare again, its executor has room; the last touch of a foreign thread
  void calibrate(const Executor& executor);
  // As printf. Puts the text together on the stack: what is told of is often that memory ran out.
  [[gnu::format(printf, 3, 4)]] void log(LogLevel level, const char* format, ...) const noexcept;
  double sentinel_of(const Engine::Slot& slot) const noexcept;

  struct Health {
    std::uint64_t suspended_until_ns = 0, back_off_ns = 0;
  };

  Engine& engine_;
  const SchedulerOptions options_;
  Clock own_clock_;
  Clock& clock_;
  const std::shared_ptr<RequestStore> store_;
  const std::shared_ptr<SchedulerLink> link_;
  Metrics metrics_;
  std::array<Inbox, num_shards> inboxes_;
  alignas(64) std::atomic<unsigned> idle_{0};  // executors that a submission would have to wake
  std::atomic<bool> running_{false};           // the threads are there
  std::atomic<bool> closed_{false};
  std::atomic<std::uint64_t> timer_ns_{never};          // when the timer thread looks for expired requests
  alignas(64) std::atomic<std::size_t> unfinished_{0};  // requests taken and not yet completed

  std::mutex mutex_;  // guards everything below
  std::condition_variable changed_, timer_;
  Mode mode_ = Mode::open;
  bool started_ = false, stopping_ = false;
  BatchFormer former_;
  RequestChain ended_;  // to be completed without having run
  std::uint64_t next_sweep_ns_ = 0;
  unsigned helpers_ = 0;  // waiting callers that run their own request
  std::uint64_t last_interactive_ns_ = 0;
  std::array<std::uint64_t, 2> last_small_ns_{};  // of each class, when work came last that is not large
  std::vector<std::unique_ptr<Executor>> executors_;
  std::size_t cpu_executors_ = 0;
  bool mixed_ = false;                // both CPU executors and devices get fresh work
  BatchRun* rework_first_ = nullptr;  // batches that need a second backend
  BatchRun* rework_last_ = nullptr;
  std::list<BatchRun> runs_;
  BatchRun* spare_runs_ = nullptr;
  std::size_t active_runs_ = 0;
  std::vector<std::unique_ptr<CostModel>> costs_;  // by slot
  std::array<Health, Engine::max_backends> health_{};
  std::uint64_t dice_;
  std::thread timer_thread_;
};

}  // namespace warpkem::host
