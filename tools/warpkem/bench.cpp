// warpkem bench: how fast the public synchronous calls are, see bench_case.hpp for what is timed. A case gets one slice
// of time per round, all cases in turn, so that noise falls on all alike; what is reported is the median over the
// rounds.
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "tools/warpkem/bench_case.hpp"
#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/io.hpp"
#include "tools/warpkem/progress.hpp"
#include "tools/warpkem/threads.hpp"

namespace warpkem::tool {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr std::size_t most_rounds = 11, least_rounds = 3;

struct BenchOptions {
  std::optional<Op> op;
  warpkem_algorithm param = 0;
  std::string backend;
  std::size_t batch = 0;
  std::uint32_t threads = WARPKEM_THREADS_AUTO;
  std::size_t keys = 0;
  bool prepared = false;
  std::uint32_t dk_format = dk_format_by_default;
  std::optional<Memory> memory;
  std::string devices;
  double seconds = 0;
  bool json = false;
};

std::uint32_t usable_cores() {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return static_cast<std::uint32_t>(sysconf(_SC_NPROCESSORS_ONLN));
  return static_cast<std::uint32_t>(CPU_COUNT(&cores));
}

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

class Measurement {
 public:
  Measurement(const Case& what, const Engine& engine, const Inputs& inputs) : case_(what, engine, inputs) {}

  // Finds how many calls fill a slice, and warms up on the way.
  void calibrate(double slice_seconds) {
    double elapsed = timed(1);
    while (elapsed < slice_seconds / 4) {
      calls_ *= 2;
      elapsed = timed(calls_);
    }
    const double per_call = elapsed / static_cast<double>(calls_);
    calls_ = std::max<std::size_t>(1, static_cast<std::size_t>(slice_seconds / per_call));
    rounds_wanted_ =
        std::clamp(static_cast<std::size_t>(slice_seconds * most_rounds / per_call), least_rounds, most_rounds);
    iterations_ = 0;
    cpu_seconds_ = 0;
  }

  void round() {
    if (rates_.size() < rounds_wanted_) rates_.push_back(static_cast<double>(calls_ * what().batch) / timed(calls_));
  }

  const Case& what() const { return case_.what(); }
  double rate() const { return median(rates_); }

  Json report() const {
    const double call_ns = static_cast<double>(what().batch) / rate() * 1e9;
    const auto [slowest, fastest] = std::minmax_element(rates_.begin(), rates_.end());
    return {{"name", what().name()},
            {"run_name", what().name()},
            {"run_type", "iteration"},
            {"repetitions", 1},
            {"repetition_index", 0},
            {"op", name_of(what().op)},
            {"param", warpkem_algorithm_name(what().algorithm)},
            {"backend", what().backend},
            {"batch", what().batch},
            {"threads", what().threads},
            {"prepared", what().prepared_keys > 0},
            {"dk_format", name_of_dk_format(what().dk_format)},
            {"memory", name_of(what().memory)},
            {"keys", case_.num_keys()},
            {"bytes_in", what().bytes_in()},
            {"bytes_out", what().bytes_out()},
            {"iterations", iterations_},
            {"real_time", call_ns},
            {"cpu_time", cpu_seconds_ / static_cast<double>(iterations_) * 1e9},
            {"time_unit", "ns"},
            {"items_per_second", rate()},
            {"items_per_cpu_second", static_cast<double>(iterations_ * what().batch) / cpu_seconds_},
            {"min", *slowest},
            {"max", *fastest},
            {"rounds", rates_.size()}};
  }

  std::string row() const {
    const auto [slowest, fastest] = std::minmax_element(rates_.begin(), rates_.end());
    return fmt::format("{:<50} {:>12.0f} {:>12.0f} {:>12.0f} {:>7}\n", what().name(), rate(), *slowest, *fastest,
                       rates_.size());
  }

 private:
  double timed(std::size_t calls) {
    const double cpu = cpu_seconds();
    const auto start = Clock::now();
    for (std::size_t i = 0; i < calls; ++i) case_.call();
    case_.finish();
    const double elapsed = seconds_between(start, Clock::now());
    cpu_seconds_ += cpu_seconds() - cpu;
    iterations_ += calls;
    return elapsed;
  }

  TimedCase case_;
  std::size_t calls_ = 1, rounds_wanted_ = most_rounds;
  std::uint64_t iterations_ = 0;
  double cpu_seconds_ = 0;
  std::vector<double> rates_;
};

// ---- all of them ----

// Milliseconds an item: with them a run of everything takes minutes.
bool is_of_a_nist_curve(warpkem_algorithm algorithm) {
  const char* const curve = describe(algorithm).curve;
  return curve != nullptr && std::string_view(curve).starts_with("P-");
}

std::vector<Case> choose_cases(const BenchOptions& options, bool everything) {
  std::vector<std::string> backends{options.backend};
  if (options.backend.empty() && (options.memory || !options.devices.empty())) {
    backends = {"cuda"};
  } else if (options.backend.empty()) {
    backends.clear();
    const Engine any;
    for (const auto& info : any.backends()) {
      if (info.available != 0) backends.emplace_back(info.name);
    }
  }
  const std::uint32_t cores = usable_cores();
  const std::uint32_t threads = options.threads == WARPKEM_THREADS_AUTO ? cores : options.threads;
  std::vector<std::pair<std::size_t, std::uint32_t>> shapes{{options.batch > 0 ? options.batch : 1024, threads}};
  if (everything) shapes = {{1, 1}, {1024, 1}};
  if (everything && cores > 1) shapes.emplace_back(1024, cores);

  std::vector<Case> cases;
  for (warpkem_algorithm algorithm = 1; warpkem_algorithm_name(algorithm) != nullptr; ++algorithm) {
    if (options.param != 0 && algorithm != options.param) continue;
    if (everything && is_of_a_nist_curve(algorithm)) continue;
    if (options.dk_format != dk_format_by_default && options.param == 0 &&
        dk_bytes(algorithm, options.dk_format) == 0) {
      continue;
    }
    for (const Op op : all_ops) {
      if (options.op && op != *options.op) continue;
      if (options.prepared && op == Op::keygen) continue;
      if (options.dk_format == WARPKEM_DK_SEED && op == Op::encaps) continue;
      for (const auto& backend : backends) {
        for (const auto& [batch, width] : shapes) {
          const std::size_t keys = !options.prepared ? 0 : options.keys > 0 ? options.keys : 1;
          cases.push_back({op, algorithm, backend, batch, width, dk_format_of(algorithm, options.dk_format), keys,
                           options.memory.value_or(Memory::pageable)});
        }
      }
    }
  }
  return cases;
}

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(std::min(line.find(": ") + 2, line.size()));
  }
  return "unknown";
}

// What a link gives, beside the rates of batches that have to pass it.
Json copy_report(const CopyRates& rates) {
  return {{"name", "copy/cuda"},
          {"run_type", "iteration"},
          {"to_device_bytes_per_second", rates.to_device},
          {"to_host_bytes_per_second", rates.to_host},
          {"both_to_device_bytes_per_second", rates.both_to_device},
          {"both_to_host_bytes_per_second", rates.both_to_host}};
}

Json context() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char date[64] = "";
  std::strftime(date, sizeof date, "%FT%T%z", &local);
  double load[3] = {};
  const int loads = getloadavg(load, 3);
  return {{"date", date},
          {"executable", "warpkem bench"},
          {"cpu", cpu_model()},
          {"num_cpus", usable_cores()},
          {"features", warpkem_cpu_features()},
          {"load_avg", std::vector<double>(load, load + std::max(loads, 0))},
          {"library", "warpkem"},
          {"library_version", warpkem_version()}};
}

int bench(const BenchOptions& options) {
  const bool everything = !options.op && options.param == 0 && options.backend.empty() && options.batch == 0 &&
                          options.threads == WARPKEM_THREADS_AUTO && !options.prepared && options.keys == 0 &&
                          options.dk_format == dk_format_by_default && !options.memory && options.devices.empty();
  if ((options.memory || !options.devices.empty()) && !options.backend.empty() && options.backend != "cuda")
    throw Error("--memory and --devices: accepted with --backend cuda");
  if (options.prepared && options.op == Op::keygen)
    throw Error("--prepared: accepted with --op encaps and --op decaps");
  if (options.keys > 0 && !options.prepared) throw Error("--keys: accepted with --prepared only");
  if (options.dk_format == WARPKEM_DK_SEED && (options.prepared || options.op == Op::encaps) &&
      (options.param == 0 || dk_bytes(options.param, WARPKEM_DK_EXPANDED) != 0))
    throw Error("--dk-format seed: accepted with --op keygen and --op decaps, without --prepared");
  const std::vector<Case> cases = choose_cases(options, everything);
  const double seconds = options.seconds > 0 ? options.seconds
                         : everything        ? 8.0 / static_cast<double>(cases.size())
                                             : 1.0;

  // Work of one backend must not be done by another while it is timed.
  std::map<std::pair<std::string, std::uint32_t>, Engine> engines;
  for (const Case& one : cases)
    engines.try_emplace({one.backend, one.threads}, one.backend, one.threads, WARPKEM_NO_FAIL_OVER, options.devices);
  std::map<std::pair<Op, warpkem_algorithm>, Inputs> inputs;
  for (const Case& one : cases) {
    if (inputs.contains({one.op, one.algorithm})) continue;
    std::size_t items = 0;
    for (const Case& other : cases) items = std::max(items, other.batch);
    inputs.emplace(std::pair{one.op, one.algorithm}, make_inputs(engines.begin()->second, one, items));
  }

  Progress progress("bench", cases.size() * (most_rounds + 1));
  std::uint64_t steps = 0;
  std::vector<std::unique_ptr<Measurement>> measurements;
  for (const Case& one : cases) {
    measurements.push_back(
        std::make_unique<Measurement>(one, engines.at({one.backend, one.threads}), inputs.at({one.op, one.algorithm})));
    measurements.back()->calibrate(seconds / most_rounds);
    progress.update(++steps);
  }
  for (std::size_t round = 0; round < most_rounds; ++round) {
    for (const auto& one : measurements) {
      one->round();
      progress.update(++steps);
    }
  }

  if (options.json) {
    Json all = {{"context", context()}, {"benchmarks", Json::array()}};
    for (const auto& [key, engine] : engines) {
      if (key.first != "cuda") continue;
      for (const auto& info : engine.backends()) {
        if (info.name == std::string("cuda")) all["context"]["cuda_devices"] = info.detail;
      }
    }
    for (const auto& one : measurements) all["benchmarks"].push_back(one->report());
    for (const auto& [key, engine] : engines) {
      if (key.first == "cuda") all["benchmarks"].push_back(copy_report(measure_copies(engine)));
    }
    write_stdout(all.dump(2) + "\n");
  } else {
    std::string text = fmt::format("{}\n{:<50} {:>12} {:>12} {:>12} {:>7}\n", cpu_model(), "items per second", "median",
                                   "min", "max", "rounds");
    for (const auto& one : measurements) text += one->row();
    write_stdout(text);
  }
  return exit_ok;
}

}  // namespace

void add_bench(Program& program) {
  const auto options = std::make_shared<BenchOptions>();
  Arguments arguments = program.add("bench", "Time the batch calls; without arguments a quick table of everything",
                                    [options] { return bench(*options); });
  const auto parse_op = [options](const std::string& text) {
    for (const Op op : all_ops) {
      if (text == name_of(op)) options->op = op;
    }
    return std::string(options->op ? "" : "one of keygen, encaps, decaps");
  };
  arguments.text("--op", "OP", "keygen, encaps or decaps (default: all)", parse_op);
  arguments.param(options->param);
  arguments.backend(options->backend, "each that is available, in turn");
  arguments.number("--batch", options->batch, 1, std::size_t{1} << 24, "Items per call (default 1024)");
  arguments.threads(options->threads);
  arguments.flag("--prepared", options->prepared, "With prepared keys: encaps and decaps under one key, or --keys");
  arguments.dk_format(options->dk_format);
  arguments.number("--keys", options->keys, 1, std::size_t{1} << 24, "So many prepared keys, used in turn (default 1)");
  const auto parse_memory = [options](const std::string& text) {
    for (const Memory memory : all_memories) {
      if (text == name_of(memory)) options->memory = memory;
    }
    return std::string(options->memory ? "" : "one of pageable, pinned, device");
  };
  arguments.text("--memory", "WHERE",
                 "pageable, pinned (page-locked) or device: where the arrays are; device: of the first GPU, enqueued "
                 "without waiting between the calls",
                 parse_memory);
  const auto parse_devices = [options](const std::string& text) {
    options->devices = text;
    return std::string(text.empty() ? "a list of GPUs" : "");
  };
  arguments.text("--devices", "LIST", "GPUs of the CUDA backend, with commas: index, UUID or PCI id (default: all)",
                 parse_devices);
  arguments.real("--seconds", "S", options->seconds, 1e-6, 3600, "Time for each case (default 1)");
  arguments.flag("--json", options->json, "As JSON in Google Benchmark's form");
}

}  // namespace warpkem::tool
