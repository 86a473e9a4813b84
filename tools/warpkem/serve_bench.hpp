// The command serve-bench, around whatever does its work. The tool's loads the library; that of bench/serve has engines
// with faults besides.
#pragma once

#include <functional>
#include <string>

#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/serve/load.hpp"

namespace warpkem::tool {

struct ServeBench {
  std::function<void(Arguments&)> add_options;     // beyond the tool's; may be empty
  std::string more_backends;                       // what --backend accepts besides, for the help
  std::function<void(const ServeOptions&)> check;  // throws Error for options that do not go together; may be empty
  std::function<ServeReport(const ServeOptions&, const Running&)> serve;
};

void add_serve_bench(Program& program, const ServeBench& variant);

}  // namespace warpkem::tool
