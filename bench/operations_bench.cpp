// Google Benchmark of the public batch calls: operations x parameter sets x backends x batch sizes x threads, from
// encoded and from prepared keys. Randomness is supplied; the checks of FIPS 203 are part of it; each case cycles
// through so many different inputs that they do not stay in the L2 cache (under prepared keys: one key, many m or c).
//
// Names are those of `warpkem bench`: encaps/ML-KEM-768/avx2/batch:1024/threads:1, and /prepared. Rates are by the
// clock on the wall, for the time of the engine's own threads is nobody else's.
#include <benchmark/benchmark.h>
#include <warpkem/warpkem.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t kColdBytes = std::size_t{8} << 20;
constexpr std::size_t kLeastKeys = 64;

void check(warpkem_status status) {
  if (status == WARPKEM_OK) return;
  std::fprintf(stderr, "%s: %s\n", warpkem_status_name(status), warpkem_last_error());
  std::exit(1);
}

struct EngineFree {
  void operator()(warpkem_engine* engine) const noexcept { warpkem_engine_free(engine); }
};
using Engine = std::unique_ptr<warpkem_engine, EngineFree>;

struct KeysRelease {
  void operator()(warpkem_keys* keys) const noexcept { warpkem_keys_release(keys); }
};
using Keys = std::unique_ptr<warpkem_keys, KeysRelease>;

// Null where the backend is not to be had.
Engine make_engine(const std::string& backend, std::uint32_t threads) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.backend = backend.c_str();
  options.threads = threads;
  warpkem_engine* engine = nullptr;
  if (warpkem_engine_new(&options, &engine) != WARPKEM_OK) return nullptr;
  return Engine(engine);
}

struct Records {
  Records(std::size_t items, std::size_t record_bytes) : record(record_bytes), memory(items * record_bytes) {}
  warpkem_in in(std::size_t first, std::size_t count) const {
    return {memory.data() + first * record, count * record, 0};
  }
  warpkem_out out(std::size_t count) { return {memory.data(), count * record, 0}; }

  std::size_t record;
  std::vector<std::uint8_t> memory;
};

Records random_records(std::size_t items, std::size_t bytes) {
  Records records(items, bytes);
  std::mt19937_64 generator(items);
  for (auto& byte : records.memory) byte = static_cast<std::uint8_t>(generator());
  return records;
}

struct Case {
  std::string op, backend;
  warpkem_algorithm algorithm;
  std::size_t batch;
  std::uint32_t threads;
  bool prepared;

  std::size_t size(std::uint32_t what) const { return warpkem_size(algorithm, what); }
  std::string name() const {
    return op + "/" + warpkem_algorithm_name(algorithm) + "/" + backend + "/batch:" + std::to_string(batch) +
           "/threads:" + std::to_string(threads) + (prepared ? "/prepared" : "");
  }
};

void run_case(benchmark::State& state, const Case& what) {
  const Engine engine = make_engine(what.backend, what.threads);
  const bool keygen = what.op == "keygen", encaps = what.op == "encaps";
  const std::size_t n = what.batch;
  // Inputs, a multiple of the batch.
  std::size_t items = std::max({n, kLeastKeys, kColdBytes / what.size(WARPKEM_SIZE_DK)});
  items = (items + n - 1) / n * n;
  const std::size_t keys = what.prepared ? 1 : items;
  Records seeds = random_records(keygen ? items : keys, what.size(WARPKEM_SIZE_SEED));
  Records m = random_records(items, what.size(WARPKEM_SIZE_M));
  Records ek(keygen ? n : keys, what.size(WARPKEM_SIZE_EK)), dk(keygen ? n : keys, what.size(WARPKEM_SIZE_DK));
  Records c(items, what.size(WARPKEM_SIZE_C)), K(items, what.size(WARPKEM_SIZE_K));
  Keys prepared;
  if (!keygen) {
    check(warpkem_keygen_derand(engine.get(), what.algorithm, WARPKEM_DK_EXPANDED, keys, seeds.in(0, keys),
                                ek.out(keys), dk.out(keys), nullptr, nullptr));
    warpkem_keys* set = nullptr;
    if (what.prepared) {
      check(warpkem_prepare_ek(engine.get(), what.algorithm, 1, ek.in(0, 1), nullptr, nullptr, &set));
      prepared.reset(set);
    }
    if (what.op == "decaps") {
      check(what.prepared ? warpkem_encaps_prepared_derand(engine.get(), set, nullptr, items, m.in(0, items),
                                                           c.out(items), K.out(items), nullptr, nullptr)
                          : warpkem_encaps_derand(engine.get(), what.algorithm, items, ek.in(0, items), m.in(0, items),
                                                  c.out(items), K.out(items), nullptr, nullptr));
      if (what.prepared) {
        check(warpkem_prepare_dk(engine.get(), what.algorithm, WARPKEM_DK_EXPANDED, 1, dk.in(0, 1), nullptr, nullptr,
                                 &set));
        prepared.reset(set);
      }
    }
  }

  std::size_t first = 0;
  Records c_out(n, c.record), K_out(n, K.record);
  const auto call = [&] {
    if (keygen) {
      return warpkem_keygen_derand(engine.get(), what.algorithm, WARPKEM_DK_EXPANDED, n, seeds.in(first, n), ek.out(n),
                                   dk.out(n), nullptr, nullptr);
    }
    if (encaps) {
      return what.prepared ? warpkem_encaps_prepared_derand(engine.get(), prepared.get(), nullptr, n, m.in(first, n),
                                                            c_out.out(n), K_out.out(n), nullptr, nullptr)
                           : warpkem_encaps_derand(engine.get(), what.algorithm, n, ek.in(first, n), m.in(first, n),
                                                   c_out.out(n), K_out.out(n), nullptr, nullptr);
    }
    return what.prepared ? warpkem_decaps_prepared(engine.get(), prepared.get(), nullptr, n, c.in(first, n),
                                                   K_out.out(n), nullptr, nullptr)
                         : warpkem_decaps(engine.get(), what.algorithm, WARPKEM_DK_EXPANDED, n, dk.in(first, n),
                                          c.in(first, n), K_out.out(n), nullptr, nullptr);
  };
  check(call());
  if (what.op == "decaps" && !std::equal(K_out.memory.begin(), K_out.memory.end(), K.memory.begin())) {
    return state.SkipWithError("decaps did not give what encaps gave");
  }

  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    if (const warpkem_status status = call(); status != WARPKEM_OK) return state.SkipWithError(warpkem_last_error());
    first = (first + n) % items;
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  const double per_second = static_cast<double>(state.iterations()) * static_cast<double>(n) / elapsed.count();
  const std::size_t key = what.prepared ? 0 : encaps ? ek.record : dk.record;
  const std::size_t bytes = keygen   ? seeds.record + ek.record + dk.record
                            : encaps ? key + m.record + c.record + K.record
                                     : key + c.record + K.record;
  state.counters["items_per_second"] = per_second;
  state.counters["bytes_per_second"] = per_second * static_cast<double>(bytes);
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint32_t cores = std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::uint32_t> threads = {1};
  if (cores > 1) threads.push_back(cores);
  for (const char* backend : {"cuda", "avx512", "avx2", "portable"}) {
    if (make_engine(backend, 1) == nullptr) {
      std::fprintf(stderr, "skipped: %s\n", warpkem_last_error());
      continue;
    }
    for (const warpkem_algorithm algorithm : {WARPKEM_ML_KEM_512, WARPKEM_ML_KEM_768, WARPKEM_ML_KEM_1024}) {
      for (const char* op : {"keygen", "encaps", "decaps"}) {
        for (const bool prepared : {false, true}) {
          if (prepared && std::string(op) == "keygen") continue;
          for (const std::size_t batch : std::initializer_list<std::size_t>{1, 4, 16, 64, 1024, 16384}) {
            for (const std::uint32_t count : threads) {
              const Case what{op, backend, algorithm, batch, count, prepared};
              benchmark::RegisterBenchmark(what.name().c_str(),
                                           [what](benchmark::State& state) { run_case(state, what); });
            }
          }
        }
      }
    }
  }
  benchmark::AddCustomContext("warpkem_version", warpkem_version());
  benchmark::AddCustomContext("cpu_features", warpkem_cpu_features());
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
