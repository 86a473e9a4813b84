// Requests while memory runs out: scenarios are run in processes of their own while the n-th allocation fails, alone or
// with all that follow, on any thread or only on those of the engine. Whatever fails, every request completes exactly
// once, what is ok is right and what is not is zero, frees and shutdowns return, and when memory is back the engine
// works.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <warpkem/warpkem.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <ostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/failing_memory.hpp"

namespace warpkem::test {

inline constexpr warpkem_algorithm algorithm = WARPKEM_ML_KEM_512;
inline constexpr std::size_t n = 12, ek_bytes = 800, dk_bytes = 1632, c_bytes = 768;
inline constexpr std::uint8_t untouched = 0xEE;

// What this process and its children share.
struct Shared {
  std::uint8_t seeds[n * 64], m[n * 32], ek[n * ek_bytes], dk[n * dk_bytes], c[n * c_bytes], K[n * 32];
  MemoryCounts counts;
  char problem[512];
};
inline Shared& shared() {
  static Shared& s =
      *static_cast<Shared*>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  return s;
}

[[noreturn, gnu::format(printf, 1, 2)]] inline void problem(const char* format, ...) {
  memory_holds();
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(shared().problem, sizeof shared().problem, format, arguments);
  va_end(arguments);
  _exit(1);
}

template <class Call>
auto call(Call f) {
  const LibraryCall inside;
  return f();
}

inline void must_be(const char* what, warpkem_status status, std::initializer_list<warpkem_status> allowed) {
  if (std::ranges::find(allowed, status) != allowed.end()) return;
  problem("%s: %s, %s", what, warpkem_status_name(status), warpkem_last_error());
}

// Of a scenario in which somebody errs.
inline bool results_may_be_wrong = false;

// Items [first, first + count) of one operation, with outputs of its own.
struct Task {
  Task(std::uint32_t operation, std::size_t first_item, std::size_t count, bool tables = false)
      : first(first_item), inputs(count), keys(count) {
    const Shared& s = shared();
    batch.struct_size = sizeof batch;
    batch.operation = operation;
    batch.algorithm = algorithm;
    batch.count = count;
    batch.user_data = this;
    batch.failed = &failed;
    const auto source = [&](const std::uint8_t* records, std::size_t bytes, std::vector<const std::uint8_t*>& table) {
      for (std::size_t i = 0; i < count; ++i) table[i] = records + (first + i) * bytes;
      return tables ? warpkem_source{nullptr, 0, 0, table.data()}
                    : warpkem_source{records + first * bytes, count * bytes, 0, nullptr};
    };
    const auto target = [&](int which, const std::uint8_t* wanted, std::size_t bytes) {
      outputs[which].assign(count * bytes, untouched);
      expected[which] = wanted + first * bytes;
      return warpkem_target{outputs[which].data(), outputs[which].size(), 0, nullptr};
    };
    switch (operation) {
      case WARPKEM_OP_KEYGEN:
        batch.flags = WARPKEM_DERAND;
        batch.seeds = source(s.seeds, 64, inputs);
        batch.ek_out = target(0, s.ek, ek_bytes);
        batch.dk_out = target(1, s.dk, dk_bytes);
        break;
      case WARPKEM_OP_ENCAPS:
        batch.flags = WARPKEM_DERAND;
        batch.ek = source(s.ek, ek_bytes, keys);
        batch.m = source(s.m, 32, inputs);
        batch.c_out = target(0, s.c, c_bytes);
        batch.K_out = target(1, s.K, 32);
        break;
      case WARPKEM_OP_DECAPS:
        batch.dk = source(s.dk, dk_bytes, keys);
        batch.c = source(s.c, c_bytes, inputs);
        batch.K_out = target(0, s.K, 32);
        break;
      case WARPKEM_OP_CHECK_EK:
        batch.ek = source(s.ek, ek_bytes, keys);
        break;
      default:
        batch.dk = source(s.dk, dk_bytes, keys);
    }
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  // With randomness of the engine's.
  Task& random() {
    batch.flags = 0;
    (batch.operation == WARPKEM_OP_KEYGEN ? batch.seeds : batch.m) = {};
    is_random = true;
    return *this;
  }
  Task& prepared(warpkem_keys* set, const std::uint32_t* index) {
    batch.ek = batch.dk = {};
    batch.keys = set;
    batch.index = index + first;
    return *this;
  }

  void check(const char* what, warpkem_status status, bool may_be_untouched) const {
    for (int which = 0; which < 2; ++which) {
      const auto all = [&](std::uint8_t byte) {
        return std::ranges::all_of(outputs[which], [byte](std::uint8_t b) { return b == byte; });
      };
      if (outputs[which].empty()) continue;
      if (status != WARPKEM_OK) {
        if (!all(0) && !(may_be_untouched && all(untouched))) {
          problem("%s, operation %u: %s with outputs that are not zero", what, batch.operation,
                  warpkem_status_name(status));
        }
      } else if (results_may_be_wrong) {
        continue;
      } else if (is_random ? all(untouched) || all(0)
                           : memcmp(outputs[which].data(), expected[which], outputs[which].size()) != 0) {
        problem("%s, operation %u: a wrong result", what, batch.operation);
      }
    }
    if (status == WARPKEM_OK && failed != 0) problem("%s: ok, but %zu failed", what, failed);
  }

  std::size_t first;
  std::vector<std::uint8_t> outputs[2];
  const std::uint8_t* expected[2] = {nullptr, nullptr};
  std::vector<const std::uint8_t*> inputs, keys;
  std::size_t failed = 0;
  bool is_random = false, is_taken = false;
  std::atomic<int> completions{0};
  std::atomic<warpkem_status> status{0};
  warpkem_batch batch{};

  // Key pairs are tested with random messages, also those of given seeds.
  bool draws() const { return is_random || batch.operation == WARPKEM_OP_KEYGEN; }
};

inline void run(warpkem_engine* engine, const Task& task) {
  const warpkem_status status = call([&] { return warpkem_run(engine, &task.batch); });
  must_be("run", status, {WARPKEM_OK, WARPKEM_OUT_OF_MEMORY, task.draws() ? WARPKEM_RNG_FAILED : WARPKEM_OK});
  if (status != WARPKEM_OK && warpkem_last_error()[0] == '\0') problem("run: %u without a text", status);
  task.check("run", status, true);
}

struct How {
  bool called_back = false;
  std::uint64_t deadline_us = 0, timeout_us = 0;
  std::uint32_t flags = 0, request_class = WARPKEM_INTERACTIVE;
};

// Requests that are submitted, and how they end.
class Submitter {
 public:
  explicit Submitter(warpkem_engine* engine) : engine_(engine) {
    const warpkem_status status = call([&] { return warpkem_queue_new(engine_, &queue_); });
    must_be("queue_new", status, {WARPKEM_OK, WARPKEM_OUT_OF_MEMORY, WARPKEM_RNG_FAILED});
    if ((status == WARPKEM_OK) != (queue_ != nullptr)) problem("queue_new: %u", status);
  }
  warpkem_queue* queue() const { return queue_; }

  template <class... Arguments>
  Task& add(Arguments... arguments) {
    added_.push_back(&tasks_.emplace_back(arguments...));
    return *added_.back();
  }

  // What was added since the last time. Returns the handles of what was taken.
  std::vector<warpkem_request> submit(const How& how) {
    const std::vector<Task*> tasks = std::exchange(added_, {});
    if (!how.called_back && queue_ == nullptr) return {};
    std::vector<warpkem_batch> batches;
    for (const Task* task : tasks) batches.push_back(task->batch);
    warpkem_submit_options o{};
    o.struct_size = sizeof o;
    o.deadline_us = how.deadline_us;
    o.timeout_us = how.timeout_us;
    o.flags = how.flags;
    o.request_class = how.request_class;
    if (how.called_back) {
      o.context = this;
      o.callback = [](void* self, const warpkem_completion* completion) {
        complete(*completion);
        static_cast<Submitter*>(self)->called_back_.fetch_add(1);
      };
    } else {
      o.queue = queue_;
    }
    std::vector<warpkem_request> handles(tasks.size());
    std::size_t taken = 0;
    const warpkem_status status =
        call([&] { return warpkem_submit(engine_, batches.data(), batches.size(), &o, handles.data(), &taken); });
    must_be("submit", status, {WARPKEM_OK, WARPKEM_OUT_OF_MEMORY, WARPKEM_RNG_FAILED});
    if (taken > tasks.size() || (status == WARPKEM_OK) != (taken == tasks.size())) {
      problem("submit: %s with %zu taken", warpkem_status_name(status), taken);
    }
    (how.called_back ? to_call_back_ : to_queue_) += taken;
    for (std::size_t i = 0; i < taken; ++i) tasks[i]->is_taken = true;
    handles.resize(taken);
    return handles;
  }

  void cancel(const std::vector<warpkem_request>& requests) {
    for (const warpkem_request request : requests) {
      must_be("cancel", call([&] { return warpkem_cancel(engine_, request); }), {WARPKEM_OK, WARPKEM_OUT_OF_MEMORY});
    }
  }

  // Until everything has completed.
  void collect() {
    while (fetched_ < to_queue_) {
      warpkem_completion completions[5];
      std::size_t count = 0;
      must_be("queue_wait", call([&] { return warpkem_queue_wait(queue_, completions, 5, patience_us, &count); }),
              {WARPKEM_OK});
      if (count == 0) problem("%zu of %zu completions never came", to_queue_ - fetched_, to_queue_);
      for (std::size_t i = 0; i < count; ++i) complete(completions[i]);
      fetched_ += count;
    }
    for (std::uint64_t waited_us = 0; called_back_.load() < to_call_back_; waited_us += 200) {
      if (waited_us > patience_us) {
        problem("%zu of %zu were never called back", to_call_back_ - called_back_.load(), to_call_back_);
      }
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }

  // Everything completed once, as it may. Not what completed in a queue that was freed.
  void check(bool memory_was_there) const {
    for (const Task& task : tasks_) {
      if (!task.is_taken) continue;
      const warpkem_status s = task.status.load();
      if (task.completions.load() != 1) problem("a request completed %d times", task.completions.load());
      if (memory_was_there) must_be("a completion, with memory", s, {WARPKEM_OK});
      must_be("a completion", s,
              {WARPKEM_OK, WARPKEM_OUT_OF_MEMORY, WARPKEM_CANCELLED, WARPKEM_EXPIRED, WARPKEM_ABORTED,
               task.draws() ? WARPKEM_RNG_FAILED : WARPKEM_OK});
      task.check("a completion", s, false);
    }
    if (called_back_.load() != to_call_back_) problem("%zu called back of %zu", called_back_.load(), to_call_back_);
  }

  void free_queue() {
    if (queue_ != nullptr) must_be("queue_free", call([&] { return warpkem_queue_free(queue_); }), {WARPKEM_OK});
    queue_ = nullptr;
  }

 private:
  static constexpr std::uint64_t patience_us = 40'000'000;

  static void complete(const warpkem_completion& completion) {
    Task& task = *static_cast<Task*>(completion.user_data);
    task.status = completion.status;
    task.completions.fetch_add(1);
  }

  warpkem_engine* const engine_;
  warpkem_queue* queue_ = nullptr;
  std::deque<Task> tasks_;
  std::vector<Task*> added_;
  std::size_t to_queue_ = 0, to_call_back_ = 0, fetched_ = 0;
  std::atomic<std::size_t> called_back_{0};
};

// Memory is back: what comes now is done, and no counter is left raised.
inline void recover(warpkem_engine* engine) {
  memory_holds();
  run(engine, Task(WARPKEM_OP_ENCAPS, 0, n));
  Submitter submitter(engine);
  if (submitter.queue() == nullptr) problem("queue_new, with memory: %s", warpkem_last_error());
  for (std::size_t i = 0; i < n; ++i) submitter.add(WARPKEM_OP_DECAPS, i, 1u);
  submitter.submit({});
  submitter.add(WARPKEM_OP_ENCAPS, 1u, 1u);
  submitter.submit({.deadline_us = 1'000'000'000, .flags = WARPKEM_WILL_WAIT});
  submitter.collect();
  submitter.check(true);
  submitter.free_queue();
  warpkem_counters counters{};
  counters.struct_size = sizeof counters;
  must_be("metrics", warpkem_metrics(engine, &counters, nullptr, 0, nullptr), {WARPKEM_OK});
  if (counters.items != 0 || counters.bytes != 0 || counters.submitted != counters.completed) {
    problem("%llu items and %llu bytes are counted, %llu of %llu completed",
            static_cast<unsigned long long>(counters.items), static_cast<unsigned long long>(counters.bytes),
            static_cast<unsigned long long>(counters.completed), static_cast<unsigned long long>(counters.submitted));
  }
  must_be("shutdown", warpkem_shutdown(engine, WARPKEM_DRAIN), {WARPKEM_OK});
}

struct Scenario {
  const char* name;
  void (*body)();

  friend void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }
};
// OpenSSL 3.5 ends the process where a thread that is the first to look at its list of modules finds no memory. No
// caller can help that.
inline int ended_by_openssl = 0;
inline bool is_openssls_end(const std::string& errors) {
  return errors.find("threads_pthread.c") != std::string::npos &&
         errors.find("OpenSSL internal error: assertion failed: data != NULL") != std::string::npos;
}

// "" if all is well.
inline std::string fault(const Scenario& scenario, const MemoryPlan& plan) {
  shared().problem[0] = '\0';
  shared().counts = {};
  const int errors = memfd_create("errors", 0);
  const pid_t child = fork();
  if (child == 0) {
    alarm(120);
    dup2(errors, STDERR_FILENO);
    memory_fails(plan);
    scenario.body();
    shared().counts = memory_holds();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  std::string text(4096, '\0');
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(0, pread(errors, text.data(), text.size(), 0))));
  close(errors);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && is_openssls_end(text)) {
    shared().counts.failed = 1;
    ++ended_by_openssl;
    return "";
  }
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) return "it hangs";
  if (WIFSIGNALED(status)) return strsignal(WTERMSIG(status)) + (": " + text);
  return WEXITSTATUS(status) == 0 ? "" : shared().problem[0] != '\0' ? shared().problem : "it exits";
}

// Records that are right, made where no memory fails, in another process: here nothing was used before a scenario is.
inline bool make_records() {
  Shared& s = shared();
  const pid_t child = fork();
  if (child == 0) {
    for (std::size_t i = 0; i < sizeof s.seeds; ++i) s.seeds[i] = static_cast<std::uint8_t>(i * 7 + 3);
    for (std::size_t i = 0; i < sizeof s.m; ++i) s.m[i] = static_cast<std::uint8_t>(i * 13 + 1);
    warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
    options.backend = "portable";
    warpkem_engine* engine = nullptr;
    const bool good =
        warpkem_engine_new(&options, &engine) == WARPKEM_OK &&
        warpkem_keygen_derand(engine, algorithm, WARPKEM_DK_EXPANDED, n, {s.seeds, sizeof s.seeds, 0},
                              {s.ek, sizeof s.ek, 0}, {s.dk, sizeof s.dk, 0}, nullptr, nullptr) == WARPKEM_OK &&
        warpkem_encaps_derand(engine, algorithm, n, {s.ek, sizeof s.ek, 0}, {s.m, sizeof s.m, 0}, {s.c, sizeof s.c, 0},
                              {s.K, sizeof s.K, 0}, nullptr, nullptr) == WARPKEM_OK;
    _exit(good ? 0 : 1);
  }
  int status = 1;
  waitpid(child, &status, 0);
  return status == 0;
}

// Lets the allocations fail, one of `step` after the other, until there are none left. The test counts as skipped if
// OpenSSL itself has ended some of the processes: these have shown nothing.
inline void sweep(const Scenario& scenario, MemoryPlan plan, bool all_that_follow, long step) {
  static const bool records_are_made = make_records();
  ASSERT_TRUE(records_are_made);
  int faults = 0, runs = 0;
  ended_by_openssl = 0;
  // How many there are varies with the threads' fortune.
  for (long first = 0, beyond = 0; beyond < 3 && faults < 3; first += step) {
    plan.first = first;
    plan.last = all_that_follow ? LONG_MAX : first + 1;
    const std::string what = fault(scenario, plan);
    EXPECT_EQ(what, "") << "when allocation " << first << " fails";
    faults += !what.empty();
    ++runs;
    beyond = shared().counts.failed == 0 && what.empty() ? beyond + 1 : 0;
  }
  if (ended_by_openssl > 0) {
    GTEST_SKIP() << "an assertion of OpenSSL's own ended " << ended_by_openssl << " of " << runs << " processes";
  }
}

// How many there are when none fails.
inline long count_allocations(const Scenario& scenario, const MemoryPlan& plan) {
  EXPECT_TRUE(make_records());
  EXPECT_EQ(fault(scenario, plan), "") << "with all the memory";
  return shared().counts.all;
}

}  // namespace warpkem::test
