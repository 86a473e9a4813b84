// warpkem serve-bench: loads the scheduler in a closed loop or an open one (Poisson), through the queues and threads
// that a server uses. Latencies of an open loop count from when a request was due, not from when it could be sent.
#include "tools/warpkem/serve_bench.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/io.hpp"
#include "tools/warpkem/metrics_server.hpp"
#include "tools/warpkem/text.hpp"

namespace warpkem::tool {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* operation_names[] = {"", "keygen", "encaps", "decaps"};

struct ServeBenchOptions {
  ServeOptions load;
  std::string mix = "encaps:768=1", verify;
  bool closed = false, json = false;
};

// keygen:512=1,encaps:768=4,decaps:ML-KEM-1024=2
std::vector<ServeOp> parse_mix(std::string_view text) {
  std::vector<ServeOp> mix;
  for (const std::string_view part : split(text)) {
    const std::size_t colon = part.find(':'), equals = part.find('=');
    const auto refuse = [&] {
      return Error(fmt::format("'{}' of --op-mix is not accepted; OPERATION:PARAM=WEIGHT is, as encaps:768=1", part));
    };
    if (colon == std::string_view::npos) throw refuse();
    ServeOp op;
    op.operation = 0;
    for (std::uint32_t i = 1; i < std::size(operation_names); ++i) {
      if (part.substr(0, colon) == operation_names[i]) op.operation = i;
    }
    const std::string param(part.substr(colon + 1, equals == std::string_view::npos ? equals : equals - colon - 1));
    op.algorithm = algorithm_named(param);
    if (equals != std::string_view::npos) {
      const std::string_view weight = part.substr(equals + 1);
      const auto [end, error] = std::from_chars(weight.data(), weight.data() + weight.size(), op.weight);
      if (error != std::errc() || end != weight.data() + weight.size() || !(op.weight <= 1e9)) throw refuse();
    }
    if (op.operation == 0 || op.algorithm == 0 || !(op.weight > 0)) throw refuse();
    mix.push_back(op);
  }
  if (mix.empty()) throw Error("--op-mix is empty");
  return mix;
}

double mean_batch(const ServeReport& r) {
  const auto [items, batches] = std::pair(r.counters.batch_items, r.counters.batches);
  return batches != 0 ? static_cast<double>(items) / static_cast<double>(batches) : 0;
}

std::uint64_t median_batch(const ServeReport& r) {
  std::uint64_t all = 0, below = 0;
  for (const warpkem_batch_size& size : r.batch_sizes) all += size.batches;
  for (const warpkem_batch_size& size : r.batch_sizes) {
    below += size.batches;
    if (2 * below >= all) return size.items;
  }
  return 0;
}

Json to_json(const ServeReport& r) {
  const auto us = [](std::uint64_t ns) { return std::round(static_cast<double>(ns) / 10) / 100; };
  Json j;
  j["offered_per_second"] = static_cast<double>(r.offered) / r.elapsed_seconds;
  j["completed_per_second"] = static_cast<double>(r.completed) / r.elapsed_seconds;
  j["offered"] = r.offered;
  j["completed"] = r.completed;
  j["refused"] = r.refused;
  j["failed"] = r.failed;
  j["expected_failures"] = r.expected_failures;
  j["cancelled"] = r.cancelled;
  j["expired"] = r.expired;
  j["lost"] = r.lost;
  j["duplicated"] = r.duplicated;
  j["wrong"] = r.wrong;
  j["verified"] = r.verified;
  j["verified_drawn"] = r.verified_drawn;
  j["latency_us"] = {{"p50", us(r.latency_ns.quantile(0.5))},
                     {"p99", us(r.latency_ns.quantile(0.99))},
                     {"p999", us(r.latency_ns.quantile(0.999))},
                     {"max", us(r.latency_ns.max())}};
  j["batch_size"] = {{"p50", median_batch(r)},
                     {"mean", mean_batch(r)},
                     {"max", r.batch_sizes.empty() ? 0 : r.batch_sizes.back().items},
                     {"histogram", Json::array()}};
  for (const auto& [items, batches] : r.batch_sizes) j["batch_size"]["histogram"].push_back({items, batches});
  j["stall_us"] = us(r.stall_ns.quantile(0.99));
  j["stall_max_us"] = us(r.stall_ns.max());
  j["cpu_ns_per_request"] = r.completed != 0 ? r.cpu_seconds * 1e9 / static_cast<double>(r.completed) : 0;
  j["rss_bytes"] = r.rss_bytes;
  j["items_by_backend"] = r.items_by_backend;
  j["usage"] = Json::array();
  for (const warpkem_usage& u : r.usages) {
    j["usage"].push_back({{"backend", u.backend},
                          {"param", warpkem_algorithm_name(u.algorithm)},
                          {"op", operation_names[u.operation]},
                          {"items", u.items},
                          {"batches", u.batches}});
  }
  if (r.bound_us > 0) j["bound_us"] = r.bound_us;
  j["sentinel"] = {{"checked", r.counters.checked},
                   {"mismatched", r.counters.mismatched},
                   {"quarantines", r.counters.quarantines},
                   {"bad_items", r.lies}};
  j["redone"] = r.counters.redone;
  j["elapsed_seconds"] = r.elapsed_seconds;
  return j;
}

int serve_bench(const ServeBenchOptions& given, const ServeBench& variant) {
  ServeOptions load = given.load;
  load.mix = parse_mix(given.mix);
  if (given.closed && load.rate > 0) throw Error("--closed and --rate exclude each other");
  if (!given.verify.empty() && given.verify != "portable") {
    throw Error(fmt::format("--verify '{}' is not accepted; portable is", given.verify));
  }
  load.verify = !given.verify.empty();
  if (variant.check) variant.check(load);
  if (load.seconds <= 0 && load.requests == 0) load.seconds = 5;
  ServeReport report;
  if (load.metrics_port >= 0) {
    MetricsServer metrics(load.metrics_port);
    write_stderr(fmt::format("metrics: http://127.0.0.1:{}/metrics\n", metrics.port()));
    report = variant.serve(load, [&](warpkem_engine* engine) { metrics.show(engine); });
  } else {
    report = variant.serve(load, {});
  }
  const Json j = to_json(report);
  if (given.json) {
    write_stdout(j.dump(2) + "\n");
  } else {
    std::string text = fmt::format("{:.0f} requests/s completed of {:.0f} offered, {} refused, {} failed\n",
                                   j["completed_per_second"].get<double>(), j["offered_per_second"].get<double>(),
                                   report.refused, report.failed);
    text += fmt::format(
        "latency: p50 {} us, p99 {} us, p99.9 {} us, max {} us (a thread that only sleeps: p99 {} us late)\n",
        j["latency_us"]["p50"].get<double>(), j["latency_us"]["p99"].get<double>(),
        j["latency_us"]["p999"].get<double>(), j["latency_us"]["max"].get<double>(), j["stall_us"].get<double>());
    text += fmt::format("batches: p50 {}, mean {:.1f}, max {} items; {:.0f} ns of CPU a request\n",
                        median_batch(report), mean_batch(report), j["batch_size"]["max"].get<std::uint64_t>(),
                        j["cpu_ns_per_request"].get<double>());
    for (const auto& [backend, items] : report.items_by_backend) text += fmt::format("{}: {} items\n", backend, items);
    text += fmt::format("lost {}, duplicated {}, wrong {}\n", report.lost, report.duplicated, report.wrong);
    if (load.verifies()) {
      text += fmt::format("verified {}, of which {} with randomness of the engine's own; {} bad keys refused\n",
                          report.verified, report.verified_drawn, report.expected_failures);
    }
    if (report.bound_us > 0)
      text += fmt::format("bound of max_delay and two batches of each kind: {:.1f} us\n", report.bound_us);
    write_stdout(text);
  }
  return report.lost + report.duplicated + report.wrong + report.failed == 0 ? exit_ok : exit_items_failed;
}

}  // namespace

void add_serve_bench(Program& program) { add_serve_bench(program, {{}, {}, {}, serve}); }

void add_serve_bench(Program& program, const ServeBench& variant) {
  const auto o = std::make_shared<ServeBenchOptions>();
  Arguments arguments = program.add("serve-bench", "Load the scheduler as a server would, and measure it",
                                    [o, variant] { return serve_bench(*o, variant); });
  ServeOptions& load = o->load;
  const auto word = [&](const char* name, const char* type, std::string& value, const char* description) {
    arguments.text(name, type, description, [&value](const std::string& text) {
      value = text;
      return std::string(text.empty() ? "a text" : "");
    });
  };
  const auto real = [&](const char* name, const char* type, double& value, double most, const char* description) {
    arguments.real(name, type, value, 0, most, description);
  };
  word("--op-mix", "MIX", o->mix, "OPERATION:PARAM=WEIGHT with commas (default encaps:768=1)");
  arguments.number("--producers", load.producers, 1, 4096,
                   "Threads that submit (default 8); those of an open loop take turns at watching the clock");
  arguments.number("--outstanding", load.outstanding, 1, 1 << 20,
                   "Closed loop: requests that each keeps under way (default 256)");
  arguments.flag("--closed", o->closed, "Closed loop (default)");
  real("--rate", "R", load.rate, 1e9, "Open loop: requests a second, Poisson");
  real("--seconds", "S", load.seconds, 1e6, "How long (default 5)");
  arguments.number("--requests", load.requests, 1, std::uint64_t{1} << 40, "How many, in place of --seconds");
  word("--backend", "B", load.backend,
       ("A backend that 'warpkem info' lists: it gets all work, another only what it fails" + variant.more_backends +
        ". Default: the best there is")
           .c_str());
  arguments.threads(load.threads);
  arguments.flag("--no-pin", load.free_threads,
                 "Let the kernel move the threads that compute from core to core (default: each stays on one, as "
                 "WARPKEM_PIN_THREADS has it; two that share a core hold each other up for milliseconds)");
  arguments.number("--seed", load.seed, 0, UINT64_MAX, "Of what is random in the load (default 1)");
  word("--verify", "portable", o->verify,
       "Check every result: against portable's where the randomness is given; by decapsulation, and key pairs by a "
       "round trip and FIPS 203's checks, where it is the engine's own; zeros where there is an error");
  real("--drawn", "F", load.drawn, 1,
       "Fraction of key generations and encapsulations whose randomness the engine draws (default 0.5, or 1/64 with "
       "--verify, which then takes longer)");
  real("--bad", "F", load.bad, 1,
       "Fraction of encapsulations and decapsulations with a bad key, which must fail alone; implies --verify "
       "portable");
  arguments.number("--hand-over", load.hand_over, 1, 1 << 16,
                   "Requests per submission and completions per poll at the most (default 256)");
  arguments.number("--queue-items", load.max_items, 1, std::size_t{1} << 30,
                   "Bound of the engine's queue (default 2048; closed loop: 4096 or more, to hold it twice)");
  arguments.number("--max-delay", load.max_delay_us, 1, 1'000'000, "max_delay in microseconds (default 50)");
  real("--sentinel", "F", load.sentinel, 1, "Fraction of items that are recomputed (default 0)");
  arguments.number("--deadline", load.deadline_us, 1, std::uint64_t{1} << 40,
                   "Deadline of each request in microseconds (default none)");
  real("--cancel", "F", load.cancel, 1, "Fraction of requests that are cancelled at once (default 0)");
  real("--bulk", "F", load.bulk, 1, "Fraction of submissions of class bulk (default 0)");
  arguments.flag("--json", o->json, "Print JSON");
  arguments.number("--metrics-port", load.metrics_port, 0, 65535,
                   "Serve Prometheus metrics on 127.0.0.1:N while it runs; 0 takes a free port and says which");
  if (variant.add_options) variant.add_options(arguments);
}

}  // namespace warpkem::tool
