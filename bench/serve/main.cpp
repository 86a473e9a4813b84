// serve_bench: `warpkem serve-bench` with test doubles: backends that fail, answer wrongly or do nothing, and a
// simulated clock. It takes the same options and prints the same report.
#include <fmt/format.h>

#include <exception>
#include <memory>
#include <vector>

#include "bench/serve/faults.hpp"
#include "bench/serve/virtual_time.hpp"
#include "tools/warpkem/io.hpp"
#include "tools/warpkem/serve_bench.hpp"

namespace {

using warpkem::tool::Arguments;
using warpkem::tool::Error;
using warpkem::tool::Running;
using warpkem::tool::ServeOptions;

struct Doubles {
  std::string faults;
  bool virtual_clock = false;
};

// Only arrivals and one device are simulated, and the device computes nothing. An option that asks for more would have
// no effect on the figures.
void refuse_what_is_not_simulated(const ServeOptions& load, const Doubles& doubles) {
  const std::pair<const char*, bool> others[] = {{"--verify", load.verify},
                                                 {"--drawn", load.drawn >= 0},
                                                 {"--bad", load.bad > 0},
                                                 {"--faults", !doubles.faults.empty()},
                                                 {"--sentinel", load.sentinel > 0},
                                                 {"--deadline", load.deadline_us != 0},
                                                 {"--cancel", load.cancel > 0},
                                                 {"--bulk", load.bulk > 0},
                                                 {"--metrics-port", load.metrics_port >= 0}};
  std::string refused;
  for (const auto& [name, is_given] : others) {
    if (is_given) refused += fmt::format("{}{}", refused.empty() ? "" : ", ", name);
  }
  if (refused.empty()) return;
  throw Error(fmt::format(
      "--virtual-clock simulates when requests come and one device, which computes nothing: it excludes {}", refused));
}

warpkem::tool::ServeBench with_doubles() {
  const auto doubles = std::make_shared<Doubles>();
  warpkem::tool::ServeBench variant;
  variant.add_options = [doubles](Arguments& arguments) {
    arguments.text("--faults", "SPEC",
                   "Faults of the first backend, with commas: error:PROBABILITY (0 to 1), slow:MICROSECONDS",
                   [doubles](const std::string& text) {
                     doubles->faults = text;
                     return std::string(text.empty() ? "a text" : "");
                   });
    arguments.flag("--virtual-clock", doubles->virtual_clock,
                   "Simulate time, exactly, and one device in place of --backend; no threads");
  };
  variant.more_backends = "; null (does nothing); or lying:P (answers wrongly with probability P)";
  variant.check = [doubles](const ServeOptions& load) {
    if (doubles->virtual_clock) refuse_what_is_not_simulated(load, *doubles);
  };
  variant.serve = [doubles](const ServeOptions& load, const Running& running) {
    if (doubles->virtual_clock) return warpkem::bench::serve_virtually(load);
    return warpkem::bench::serve_with_faults(load, doubles->faults, running);
  };
  return variant;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    warpkem::tool::prepare_process();
    warpkem::tool::Program program;
    add_serve_bench(program, with_doubles());
    // There is no other command, so its name is left out.
    char command[] = "serve-bench";
    std::vector<char*> arguments(argv, argv + argc);
    arguments.insert(arguments.begin() + 1, command);
    arguments.push_back(nullptr);
    return program.run(argc + 1, arguments.data());
  } catch (const std::exception& error) {
    warpkem::tool::write_stderr({"warpkem: ", error.what(), "\n"});
    return warpkem::tool::exit_error;
  }
}
