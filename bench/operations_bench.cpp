// Google Benchmark of the public batch calls: operations x parameter sets x forms of the keys x backends x batch sizes
// x threads, and on GPUs x where the arrays are, with a probe of the copies that bound those in host memory.
//
// Cases and names are those of `warpkem bench`, see tools/warpkem/bench_case.hpp; Google Benchmark adds "/real_time".
// Rates are by the clock on the wall, for the time of the engine's own threads, or of a GPU, is nobody else's.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "tools/warpkem/bench_case.hpp"

namespace warpkem::tool {
namespace {

// Work of one backend must not be done by another while it is timed.
class Engines {
 public:
  // NULL, and the reason once on stderr, where the backend is not to be had.
  Engine* get(const std::string& backend, std::uint32_t threads) {
    const auto [found, is_new] = engines_.try_emplace({backend, threads});
    if (is_new) {
      try {
        found->second = std::make_unique<Engine>(backend, threads, WARPKEM_NO_FAIL_OVER);
      } catch (const Error& error) {
        std::fprintf(stderr, "skipped: %s\n", error.what());
      }
    }
    return found->second.get();
  }

 private:
  std::map<std::pair<std::string, std::uint32_t>, std::unique_ptr<Engine>> engines_;
};

// Google Benchmark calls a case several times to find out how often to repeat it, and cases that differ in backend,
// threads and memory alone take the same inputs: what is ready is kept until another is wanted.
class Suite {
 public:
  explicit Suite(Engines& engines) : engines_(engines) {}

  void run(benchmark::State& state, const Case& what) try {
    TimedCase& timed = ready(what);
    auto left = state.max_iterations;
    const auto start = std::chrono::steady_clock::now();
    for (auto _ : state) {
      timed.call();
      if (--left == 0) timed.finish();  // inside, or the time of what is only enqueued would not count
    }
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    const double per_second =
        static_cast<double>(state.iterations()) * static_cast<double>(what.batch) / elapsed.count();
    const auto in = static_cast<double>(what.bytes_in()), out = static_cast<double>(what.bytes_out());
    state.counters["items_per_second"] = per_second;
    state.counters["bytes_per_second"] = per_second * (in + out);
    state.counters["bytes_in"] = in;
    state.counters["bytes_out"] = out;
  } catch (const std::exception& error) {
    timed_.reset();
    state.SkipWithError(error.what());
  }

 private:
  TimedCase& ready(const Case& what) {
    if (timed_ && timed_->what().name() == what.name()) return *timed_;
    timed_.reset();
    Engine& engine = *engines_.get(what.backend, what.threads);
    Case of_inputs = what;
    of_inputs.backend.clear(), of_inputs.threads = 0, of_inputs.memory = Memory::pageable;
    if (inputs_name_ != of_inputs.name()) {
      inputs_name_.clear();
      inputs_ = make_inputs(engine, what, what.batch);
      inputs_name_ = of_inputs.name();
    }
    timed_ = std::make_unique<TimedCase>(what, engine, inputs_);
    return *timed_;
  }

  Engines& engines_;
  std::string inputs_name_;
  Inputs inputs_;
  std::unique_ptr<TimedCase> timed_;
};

void probe_copies(benchmark::State& state, const Engine& engine) try {
  CopyRates rates{};
  for (auto _ : state) rates = measure_copies(engine);
  state.counters["to_device_bytes_per_second"] = rates.to_device;
  state.counters["to_host_bytes_per_second"] = rates.to_host;
  state.counters["both_to_device_bytes_per_second"] = rates.both_to_device;
  state.counters["both_to_host_bytes_per_second"] = rates.both_to_host;
} catch (const std::exception& error) {
  state.SkipWithError(error.what());
}

struct KeyForm {
  Op op;
  std::uint32_t dk_format;
  std::size_t prepared_keys;
};
constexpr KeyForm key_forms[] = {
    {Op::keygen, WARPKEM_DK_EXPANDED, 0}, {Op::keygen, WARPKEM_DK_SEED, 0},     {Op::encaps, WARPKEM_DK_EXPANDED, 0},
    {Op::encaps, WARPKEM_DK_EXPANDED, 1}, {Op::decaps, WARPKEM_DK_EXPANDED, 0}, {Op::decaps, WARPKEM_DK_SEED, 0},
    {Op::decaps, WARPKEM_DK_EXPANDED, 1},
};

constexpr std::size_t batches[] = {1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576};
constexpr std::size_t largest_cpu_batch = 16384, largest_hybrid_batch = 4096;

// Of a hybrid whose curve the CPU does, which takes its time.
bool curve_is_on_cpu(const std::string& backend, warpkem_algorithm algorithm) {
  const char* const curve = describe(algorithm).curve;
  return curve != nullptr && (backend != "cuda" || std::string_view(curve) != "X25519");
}

// Cases with the same inputs follow each other.
std::vector<Case> all_cases(Engines& engines) {
  const std::uint32_t cores = std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::uint32_t> cpu_threads{1};
  if (cores > 1) cpu_threads.push_back(cores);
  std::vector<Case> cases;
  for (warpkem_algorithm algorithm = 1; warpkem_algorithm_name(algorithm) != nullptr; ++algorithm) {
    for (KeyForm form : key_forms) {
      if (dk_bytes(algorithm, form.dk_format) == 0) {
        if (form.op != Op::encaps && form.prepared_keys == 0) continue;  // the case of seeds is it
        form.dk_format = WARPKEM_DK_SEED;
      }
      for (const std::size_t batch : batches) {
        for (const char* backend : {"cuda", "avx512", "avx2", "portable"}) {
          if (engines.get(backend, 1) == nullptr) continue;
          const bool slow = curve_is_on_cpu(backend, algorithm);
          if (slow && batch > largest_hybrid_batch) continue;
          const Case one{form.op, algorithm, backend, batch, 1, form.dk_format, form.prepared_keys, Memory::pageable};
          if (one.backend == "cuda") {
            for (const Memory memory : all_memories) {
              if (slow && memory == Memory::device) continue;
              cases.emplace_back(one).memory = memory;
            }
          } else if (batch <= largest_cpu_batch) {
            for (const std::uint32_t threads : cpu_threads) cases.emplace_back(one).threads = threads;
          }
        }
      }
    }
  }
  return cases;
}

int run_all(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  Engines engines;
  Suite suite(engines);
  for (const Case& what : all_cases(engines)) {
    benchmark::RegisterBenchmark(what.name().c_str(), [&suite, what](benchmark::State& state) {
      suite.run(state, what);
    })->UseRealTime();
  }
  if (const Engine* const cuda = engines.get("cuda", 1)) {
    benchmark::RegisterBenchmark("copy/cuda", [cuda](benchmark::State& state) { probe_copies(state, *cuda); })
        ->UseRealTime()
        ->Iterations(1);
    for (const auto& info : cuda->backends()) {
      if (info.name == std::string("cuda")) benchmark::AddCustomContext("cuda_devices", info.detail);
    }
  }
  benchmark::AddCustomContext("warpkem_version", warpkem_version());
  benchmark::AddCustomContext("cpu_features", warpkem_cpu_features());
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace warpkem::tool

int main(int argc, char** argv) {
  try {
    return warpkem::tool::run_all(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "operations_bench: %s\n", error.what());
    return 1;
  }
}
