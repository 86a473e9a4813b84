// warpkem bench: how fast the public synchronous calls are. Each is timed from encoded keys with its randomness
// supplied and every check of FIPS 203 in it; calls cycle through so many different keys that these do not stay in the
// L2 cache. A case gets one slice of time per round, all cases in turn, so that noise falls on all alike; what is
// reported is the median over the rounds.
#include <fmt/format.h>
#include <sched.h>
#include <sys/random.h>
#include <unistd.h>
#include <warpkem/cuda.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <vector>

#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/io.hpp"
#include "tools/warpkem/progress.hpp"

namespace warpkem::tool {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr std::size_t cold_bytes = std::size_t{8} << 20;  // of encoded inputs that calls cycle through: more than L2
constexpr std::size_t least_keys = 64;
constexpr std::size_t most_rounds = 11, least_rounds = 3;

enum class Op { keygen, encaps, decaps };
constexpr Op all_ops[] = {Op::keygen, Op::encaps, Op::decaps};
constexpr const char* op_names[] = {"keygen", "encaps", "decaps"};
const char* name_of(Op op) { return op_names[static_cast<std::size_t>(op)]; }

// Where the arrays of a call are.
enum class Memory { pageable, pinned, device };
constexpr const char* memory_names[] = {"pageable", "pinned", "device"};
const char* name_of(Memory memory) { return memory_names[static_cast<std::size_t>(memory)]; }

struct BenchOptions {
  std::optional<Op> op;
  warpkem_algorithm param = 0;
  std::string backend;
  std::size_t batch = 0;
  std::uint32_t threads = WARPKEM_THREADS_AUTO;
  std::size_t keys = 0;
  bool prepared = false;
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

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// ---- inputs ----

struct Column {
  Column(std::size_t items, std::size_t record_bytes) : record(record_bytes), memory(items * record_bytes) {}

  warpkem_in in(std::size_t first, std::size_t count) const {
    return {memory.data() + first * record, count * record, 0};
  }
  warpkem_out out(std::size_t count) const { return {memory.data(), count * record, 0}; }

  void randomise() {
    for (std::size_t done = 0; done < memory.size();) {
      const ssize_t got = getrandom(memory.data() + done, std::min<std::size_t>(memory.size() - done, 1 << 20), 0);
      if (got < 0) throw Error(fmt::format("getrandom: {}", std::strerror(errno)));
      done += static_cast<std::size_t>(got);
    }
  }

  std::size_t record;
  Buffer memory;
};

struct KeysRelease {
  void operator()(warpkem_keys* keys) const noexcept { warpkem_keys_release(keys); }
};
using Keys = std::unique_ptr<warpkem_keys, KeysRelease>;

Keys prepare(const Engine& engine, Op op, warpkem_algorithm algorithm, std::size_t count, warpkem_in records) {
  warpkem_keys* keys = nullptr;
  check(op == Op::encaps ? warpkem_prepare_ek(engine.get(), algorithm, count, records, nullptr, nullptr, &keys)
                         : warpkem_prepare_dk(engine.get(), algorithm, WARPKEM_DK_EXPANDED, count, records, nullptr,
                                              nullptr, &keys));
  return Keys(keys);
}

// What an operation is given: seeds; ek and m; dk and c with the K that must come out. With prepared keys there are
// only so many keys, and item i has key key_of[i].
struct Inputs {
  std::size_t items = 0;
  std::vector<std::uint32_t> key_of;
  std::vector<Column> columns;
};

Inputs make_inputs(const Engine& engine, Op op, warpkem_algorithm algorithm, std::size_t least_items,
                   std::size_t prepared_keys) {
  const auto size = [algorithm](std::uint32_t what) { return warpkem_size(algorithm, what); };
  Inputs inputs;
  inputs.items =
      std::max({least_items, least_keys, cold_bytes / size(op == Op::decaps ? WARPKEM_SIZE_DK : WARPKEM_SIZE_EK)});
  const std::size_t n = inputs.items;
  if (op == Op::keygen) {
    inputs.columns.emplace_back(n, size(WARPKEM_SIZE_SEED)).randomise();
    return inputs;
  }
  const std::size_t keys = prepared_keys > 0 ? prepared_keys : n;
  for (std::size_t i = 0; i < n && prepared_keys > 0; ++i)
    inputs.key_of.push_back(static_cast<std::uint32_t>(i % keys));
  Column ek(keys, size(WARPKEM_SIZE_EK));
  Column dk(keys, size(op == Op::encaps ? WARPKEM_SIZE_DK_SEED : WARPKEM_SIZE_DK));
  check(warpkem_keygen(engine.get(), algorithm, op == Op::encaps ? WARPKEM_DK_SEED : WARPKEM_DK_EXPANDED, keys,
                       ek.out(keys), dk.out(keys), nullptr, nullptr));
  if (op == Op::encaps) {
    inputs.columns.push_back(std::move(ek));
    inputs.columns.emplace_back(n, size(WARPKEM_SIZE_M)).randomise();
    return inputs;
  }
  Column c(n, size(WARPKEM_SIZE_C)), K(n, size(WARPKEM_SIZE_K));
  if (prepared_keys > 0) {
    const Keys set = prepare(engine, Op::encaps, algorithm, keys, ek.in(0, keys));
    check(warpkem_encaps_prepared(engine.get(), set.get(), inputs.key_of.data(), n, c.out(n), K.out(n), nullptr,
                                  nullptr));
  } else {
    check(warpkem_encaps(engine.get(), algorithm, n, ek.in(0, n), c.out(n), K.out(n), nullptr, nullptr));
  }
  inputs.columns.push_back(std::move(dk));
  inputs.columns.push_back(std::move(c));
  inputs.columns.push_back(std::move(K));
  return inputs;
}

// An array of a call in page-locked or device memory, with a column's content if there is one.
class PlacedColumn {
 public:
  PlacedColumn(warpkem_engine* engine, Memory memory, std::size_t items, std::size_t record_bytes)
      : engine_(engine),
        kind_(memory == Memory::pinned ? WARPKEM_CUDA_PINNED : WARPKEM_CUDA_DEVICE),
        record_(record_bytes),
        bytes_(items * record_bytes) {
    check(warpkem_cuda_alloc(engine_, kind_, bytes_, &memory_));
  }
  PlacedColumn(warpkem_engine* engine, Memory memory, const Column& content)
      : PlacedColumn(engine, memory, content.memory.size() / content.record, content.record) {
    check(warpkem_cuda_copy(engine_, memory_, content.memory.data(), bytes_));
  }
  PlacedColumn(PlacedColumn&& other) noexcept
      : engine_(other.engine_),
        kind_(other.kind_),
        record_(other.record_),
        bytes_(other.bytes_),
        memory_(std::exchange(other.memory_, nullptr)) {}
  PlacedColumn& operator=(PlacedColumn&&) = delete;
  ~PlacedColumn() { warpkem_cuda_free(engine_, kind_, bytes_, memory_); }

  std::uint8_t* item(std::size_t i) const { return static_cast<std::uint8_t*>(memory_) + i * record_; }
  std::size_t record() const { return record_; }

 private:
  warpkem_engine* engine_;
  std::uint32_t kind_;
  std::size_t record_, bytes_;
  void* memory_ = nullptr;
};

// ---- one case ----

struct Case {
  Op op;
  warpkem_algorithm algorithm;
  std::string backend;
  std::size_t batch;
  std::uint32_t threads;
  std::size_t prepared_keys;  // 0: from encoded keys
  std::optional<Memory> memory;

  std::string name() const {
    return fmt::format("{}/{}/{}/batch:{}/threads:{}{}{}", name_of(op), warpkem_algorithm_name(algorithm), backend,
                       batch, threads, prepared_keys > 0 ? "/prepared" : "",
                       memory ? fmt::format("/memory:{}", name_of(*memory)) : "");
  }
  bool placed() const { return memory && *memory != Memory::pageable; }
};

class Measurement {
 public:
  Measurement(const Case& what, const Engine& engine, const Inputs& inputs)
      : what_(what), engine_(engine.get()), inputs_(inputs) {
    const auto output = [&](std::uint32_t item) {
      outputs_.emplace_back(what.batch, warpkem_size(what.algorithm, item));
    };
    if (what.op == Op::keygen) {
      output(WARPKEM_SIZE_EK);
      output(WARPKEM_SIZE_DK);
    } else {
      output(WARPKEM_SIZE_K);
      if (what.op == Op::encaps) output(WARPKEM_SIZE_C);
    }
    if (what.placed()) place();
    if (what.prepared_keys > 0) {
      keys_ = prepare(engine, what.op, what.algorithm, what.prepared_keys, inputs.columns[0].in(0, what.prepared_keys));
    }
    run();
    verify();
  }

  // Finds how many calls fill a slice, and warms up on the way.
  void calibrate(double slice_seconds) {
    double elapsed = timed(1);
    for (; elapsed < slice_seconds / 4; elapsed = timed(calls_)) calls_ *= 2;
    const double per_call = elapsed / static_cast<double>(calls_);
    calls_ = std::max<std::size_t>(1, static_cast<std::size_t>(slice_seconds / per_call));
    rounds_wanted_ =
        std::clamp(static_cast<std::size_t>(slice_seconds * most_rounds / per_call), least_rounds, most_rounds);
    iterations_ = 0;
    cpu_seconds_ = 0;
  }

  void round() {
    if (rates_.size() < rounds_wanted_) rates_.push_back(static_cast<double>(calls_ * what_.batch) / timed(calls_));
  }

  const Case& what() const { return what_; }
  double rate() const { return median(rates_); }

  Json report() const {
    const double call_ns = static_cast<double>(what_.batch) / rate() * 1e9;
    const auto [slowest, fastest] = std::minmax_element(rates_.begin(), rates_.end());
    return {{"name", what_.name()},
            {"run_name", what_.name()},
            {"run_type", "iteration"},
            {"repetitions", 1},
            {"repetition_index", 0},
            {"op", name_of(what_.op)},
            {"param", warpkem_algorithm_name(what_.algorithm)},
            {"backend", what_.backend},
            {"batch", what_.batch},
            {"threads", what_.threads},
            {"prepared", what_.prepared_keys > 0},
            {"memory", name_of(what_.memory.value_or(Memory::pageable))},
            {"keys", what_.prepared_keys > 0 ? what_.prepared_keys : inputs_.items},
            {"iterations", iterations_},
            {"real_time", call_ns},
            {"cpu_time", cpu_seconds_ / static_cast<double>(iterations_) * 1e9},
            {"time_unit", "ns"},
            {"items_per_second", rate()},
            {"items_per_cpu_second", static_cast<double>(iterations_ * what_.batch) / cpu_seconds_},
            {"min", *slowest},
            {"max", *fastest},
            {"rounds", rates_.size()}};
  }

  std::string row() const {
    const auto [slowest, fastest] = std::minmax_element(rates_.begin(), rates_.end());
    return fmt::format("{:<50} {:>12.0f} {:>12.0f} {:>12.0f} {:>7}\n", what_.name(), rate(), *slowest, *fastest,
                       rates_.size());
  }

 private:
  void run() {
    const std::size_t n = what_.batch;
    if (next_ + n > inputs_.items) next_ = 0;
    if (what_.placed()) {
      run_placed();
      next_ += n;
      return;
    }
    const auto in = [&](std::size_t column) { return inputs_.columns[column].in(next_, n); };
    const auto out = [&](std::size_t column) { return outputs_[column].out(n); };
    const std::uint32_t* const index = keys_ ? inputs_.key_of.data() + next_ : nullptr;
    warpkem_status status = WARPKEM_OK;
    if (what_.op == Op::keygen) {
      status = warpkem_keygen_derand(engine_, what_.algorithm, WARPKEM_DK_EXPANDED, n, in(0), out(0), out(1), nullptr,
                                     nullptr);
    } else if (what_.op == Op::encaps) {
      status =
          keys_
              ? warpkem_encaps_prepared_derand(engine_, keys_.get(), index, n, in(1), out(1), out(0), nullptr, nullptr)
              : warpkem_encaps_derand(engine_, what_.algorithm, n, in(0), in(1), out(1), out(0), nullptr, nullptr);
    } else {
      status = keys_ ? warpkem_decaps_prepared(engine_, keys_.get(), index, n, in(1), out(0), nullptr, nullptr)
                     : warpkem_decaps(engine_, what_.algorithm, WARPKEM_DK_EXPANDED, n, in(0), in(1), out(0), nullptr,
                                      nullptr);
    }
    if (status != WARPKEM_OK)
      throw Error(fmt::format("{}: {}: {}", what_.name(), warpkem_status_name(status), warpkem_last_error()));
    next_ += n;
  }

  void place() {
    for (const Column& column : inputs_.columns) placed_inputs_.emplace_back(engine_, *what_.memory, column);
    for (const Column& column : outputs_) {
      placed_outputs_.emplace_back(engine_, *what_.memory, what_.batch, column.record);
    }
    if (inputs_.key_of.empty() || *what_.memory != Memory::device) return;
    placed_index_.emplace(engine_, Memory::device, inputs_.items, sizeof(std::uint32_t));
    check(warpkem_cuda_copy(engine_, placed_index_->item(0), inputs_.key_of.data(),
                            inputs_.items * sizeof(std::uint32_t)));
  }

  void run_placed() {
    const std::size_t n = what_.batch;
    const auto in = [&](std::size_t column) {
      const PlacedColumn& from = placed_inputs_[column];
      return warpkem_source{from.item(next_), n * from.record(), 0, nullptr};
    };
    const auto out = [&](std::size_t column) {
      const PlacedColumn& to = placed_outputs_[column];
      return warpkem_target{to.item(0), n * to.record(), 0, nullptr};
    };
    warpkem_batch batch{};
    batch.struct_size = sizeof batch;
    batch.algorithm = what_.algorithm;
    batch.count = n;
    batch.keys = keys_.get();
    if (what_.op == Op::keygen) {
      batch.operation = WARPKEM_OP_KEYGEN, batch.flags = WARPKEM_DERAND;
      batch.seeds = in(0), batch.ek_out = out(0), batch.dk_out = out(1);
    } else if (what_.op == Op::encaps) {
      batch.operation = WARPKEM_OP_ENCAPS, batch.flags = WARPKEM_DERAND;
      if (!keys_) batch.ek = in(0);
      batch.m = in(1), batch.K_out = out(0), batch.c_out = out(1);
    } else {
      batch.operation = WARPKEM_OP_DECAPS;
      if (!keys_) batch.dk = in(0);
      batch.c = in(1), batch.K_out = out(0);
    }
    if (keys_ && *what_.memory == Memory::pinned) batch.index = inputs_.key_of.data() + next_;
    if (keys_ && *what_.memory == Memory::device) {
      batch.index = reinterpret_cast<const std::uint32_t*>(placed_index_->item(next_));
    }
    warpkem_status status = WARPKEM_OK;
    if (*what_.memory == Memory::pinned) {
      status = warpkem_run(engine_, &batch);
    } else {
      if (!workspace_) {
        std::size_t bytes = 0;
        check(warpkem_cuda_workspace_bytes(engine_, &batch, &bytes));
        workspace_.emplace(engine_, Memory::device, std::max<std::size_t>(bytes, 1), 1);
        workspace_bytes_ = bytes;
      }
      status = warpkem_cuda_run(engine_, &batch, workspace_->item(0), workspace_bytes_, nullptr);
    }
    if (status != WARPKEM_OK)
      throw Error(fmt::format("{}: {}: {}", what_.name(), warpkem_status_name(status), warpkem_last_error()));
  }

  // Device-resident calls return when they are enqueued.
  void finish_calls() {
    if (what_.memory == Memory::device) check(warpkem_cuda_synchronize(engine_, nullptr));
  }

  // A wrong answer has no rate.
  void verify() {
    finish_calls();
    if (what_.op != Op::decaps) return;
    const std::size_t bytes = what_.batch * inputs_.columns[2].record;
    if (what_.placed()) check(warpkem_cuda_copy(engine_, outputs_[0].memory.data(), placed_outputs_[0].item(0), bytes));
    if (std::memcmp(outputs_[0].memory.data(), inputs_.columns[2].memory.data(), bytes) != 0) {
      throw Error(what_.name() + ": wrong shared secrets");
    }
  }

  double timed(std::size_t calls) {
    const double cpu = cpu_seconds();
    const auto start = Clock::now();
    for (std::size_t i = 0; i < calls; ++i) run();
    finish_calls();
    const double elapsed = seconds_between(start, Clock::now());
    cpu_seconds_ += cpu_seconds() - cpu;
    iterations_ += calls;
    return elapsed;
  }

  Case what_;
  warpkem_engine* engine_;
  const Inputs& inputs_;
  std::vector<Column> outputs_;
  std::vector<PlacedColumn> placed_inputs_, placed_outputs_;
  std::optional<PlacedColumn> placed_index_, workspace_;
  std::size_t workspace_bytes_ = 0;
  Keys keys_;
  std::size_t next_ = 0;
  std::size_t calls_ = 1, rounds_wanted_ = most_rounds;
  std::uint64_t iterations_ = 0;
  double cpu_seconds_ = 0;
  std::vector<double> rates_;
};

// ---- all of them ----

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
    for (const Op op : all_ops) {
      if (options.op && op != *options.op) continue;
      if (options.prepared && op == Op::keygen) continue;
      for (const auto& backend : backends) {
        for (const auto& [batch, width] : shapes) {
          const std::size_t keys = !options.prepared ? 0 : options.keys > 0 ? options.keys : 1;
          cases.push_back({op, algorithm, backend, batch, width, keys, options.memory});
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

// Bytes per second between page-locked memory and the current device, the best of a few copies: what bounds every rate
// of batches in host memory.
Json link_rates(warpkem_engine* engine) {
  constexpr std::size_t bytes = std::size_t{64} << 20;
  constexpr int copies = 5;
  const PlacedColumn host(engine, Memory::pinned, bytes, 1), device(engine, Memory::device, bytes, 1);
  const auto rate = [&](const PlacedColumn& to, const PlacedColumn& from) {
    double best = 0;
    for (int i = 0; i < copies; ++i) {
      const auto start = Clock::now();
      check(warpkem_cuda_copy(engine, to.item(0), from.item(0), bytes));
      best = std::max(best, static_cast<double>(bytes) / seconds_between(start, Clock::now()));
    }
    return best;
  };
  return {{"to_device_bytes_per_second", rate(device, host)}, {"to_host_bytes_per_second", rate(host, device)}};
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
                          !options.memory && options.devices.empty();
  if ((options.memory || !options.devices.empty()) && !options.backend.empty() && options.backend != "cuda")
    throw Error("--memory and --devices: accepted with --backend cuda");
  if (options.prepared && options.op == Op::keygen)
    throw Error("--prepared: accepted with --op encaps and --op decaps");
  if (options.keys > 0 && !options.prepared) throw Error("--keys: accepted with --prepared only");
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
    std::size_t items = one.prepared_keys;
    for (const Case& other : cases) items = std::max(items, other.batch);
    inputs.emplace(std::pair{one.op, one.algorithm},
                   make_inputs(engines.begin()->second, one.op, one.algorithm, items, one.prepared_keys));
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
      all["context"]["link"] = link_rates(engine.get());
    }
    for (const auto& one : measurements) all["benchmarks"].push_back(one->report());
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
    return options->op ? std::string() : fmt::format("one of {}", fmt::join(op_names, ", "));
  };
  arguments.text("--op", "OP", "keygen, encaps or decaps (default: all)", parse_op);
  arguments.param(options->param);
  arguments.backend(options->backend);
  arguments.number("--batch", options->batch, 1, std::size_t{1} << 24, "Items per call (default 1024)");
  arguments.threads(options->threads);
  arguments.flag("--prepared", options->prepared, "With prepared keys: encaps and decaps under one key, or --keys");
  arguments.number("--keys", options->keys, 1, std::size_t{1} << 24, "So many prepared keys, used in turn (default 1)");
  const auto parse_memory = [options](const std::string& text) {
    for (const Memory memory : {Memory::pageable, Memory::pinned, Memory::device}) {
      if (text == name_of(memory)) options->memory = memory;
    }
    return options->memory ? std::string() : fmt::format("one of {}", fmt::join(memory_names, ", "));
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
  const auto parse_seconds = [options](const std::string& text) {
    std::istringstream stream(text);
    stream >> options->seconds;
    const bool good = stream && stream.eof() && options->seconds > 0 && options->seconds <= 3600;
    return std::string(good ? "" : "a number above 0, at most 3600,");
  };
  arguments.text("--seconds", "S", "Time for each case (default 1)", parse_seconds);
  arguments.flag("--json", options->json, "As JSON in Google Benchmark's form");
}

}  // namespace warpkem::tool
