// warpkem selftest: the library's known-answer test, backend by backend.
#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/io.hpp"

namespace warpkem::tool {
namespace {

struct SelftestOptions {
  std::string backend;
};

int selftest(const SelftestOptions& options) {
  const Engine engine(options.backend);
  const bool one = !options.backend.empty() && options.backend != "auto";
  int exit = exit_ok;
  for (const auto& info : engine.backends()) {
    if (info.available == 0 || (one && options.backend != info.name)) continue;
    const warpkem_status status = warpkem_selftest(engine.get(), info.name);
    const std::string reason = status == WARPKEM_OK ? "" : warpkem_last_error();
    write_stdout(fmt::format("{}: {}\n", info.name, status == WARPKEM_OK ? "passed" : "FAILED: " + reason));
    if (status != WARPKEM_OK) exit = exit_error;
  }
  return exit;
}

}  // namespace

void add_selftest(Program& program) {
  const auto options = std::make_shared<SelftestOptions>();
  Arguments arguments = program.add("selftest", "Run the known-answer tests", [options] { return selftest(*options); });
  arguments.backend(options->backend, "each that is available");
}

}  // namespace warpkem::tool
