#include "bench/serve/faults.hpp"

#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <memory>
#include <string_view>
#include <vector>

#include "host/api/seam.hpp"
#include "tests/support/scripted_backend.hpp"
#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/error.hpp"
#include "tools/warpkem/text.hpp"

namespace warpkem::bench {

namespace {

using scripted::Script;
using tool::Error;
using tool::ServeOptions;
using tool::ServeReport;

constexpr double longest_fault_us = 60e6;

double number(std::string_view text, std::string_view what, double most) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= 0 && value <= most)) {
    throw Error(fmt::format("'{}' of {} is not accepted; a number from 0 to {} is", text, what, most));
  }
  return value;
}

struct Scripted {
  std::vector<Script> scripts;
  std::shared_ptr<std::atomic<std::uint64_t>> lies = std::make_shared<std::atomic<std::uint64_t>>(0);
  bool computes = true;  // results mean something
  std::string forced;    // the backend that was asked for and gets all work while it can
};

// What this machine can use, best first. Devices are woken only if no backend is named.
std::vector<const host::BackendEntry*> usable_backends(bool named) {
  const tool::Engine engine(named ? "portable" : "auto");
  std::vector<const host::BackendEntry*> usable;
  for (const warpkem_backend_info& info : engine.backends()) {
    for (const host::BackendEntry& entry : host::backend_table()) {
      if (info.available != 0 && std::string_view(entry.name) == info.name) usable.push_back(&entry);
    }
  }
  return usable;
}

scripted::Behaviour first_behaviour(const ServeOptions& options, const std::string& faults) {
  scripted::Behaviour behaviour = scripted::honest();
  for (const std::string_view fault : tool::split(faults)) {
    if (fault.starts_with("error:")) {
      behaviour = scripted::failing(number(fault.substr(6), "--faults error:PROBABILITY", 1), options.seed, behaviour);
    } else if (fault.starts_with("slow:")) {
      behaviour = scripted::slow(number(fault.substr(5), "--faults slow:MICROSECONDS", longest_fault_us), 0, behaviour);
    } else {
      throw Error(fmt::format("--faults: '{}' is not accepted; error:PROBABILITY and slow:MICROSECONDS are", fault));
    }
  }
  return behaviour;
}

Scripted backends(const ServeOptions& options, const std::string& faults) {
  Scripted s;
  const char* const given = secure_getenv("WARPKEM_BACKEND");
  std::string name = options.backend != "auto" ? options.backend : "";
  if (name.empty() && given != nullptr) name = given;
  if (!faults.empty() && (name == "null" || name.starts_with("lying:")))
    throw Error(fmt::format("--faults: accepted with a backend that computes, not with {}", name));
  if (name == "null") {
    s.computes = false;
    s.scripts.push_back({"null", true, 1, scripted::null(), "portable"});
    return s;
  }
  const std::vector<const host::BackendEntry*> usable = usable_backends(!name.empty());
  const auto best_cpu = *std::ranges::find_if(usable, [](const host::BackendEntry* e) { return e->on_cpu; });
  if (name.starts_with("lying:")) {
    const double p = number(std::string_view(name).substr(6), "--backend lying:PROBABILITY", 1);
    const char* const best = best_cpu->name;
    s.scripts.push_back({"lying", true, 0, scripted::lying(p, options.seed, s.lies), best});
    s.scripts.push_back({best, true, 0, scripted::honest(), best});
    return s;
  }
  const host::BackendEntry* chosen = usable.front();
  if (!name.empty()) {
    const auto entry = std::ranges::find(host::backend_table(), name, &host::BackendEntry::name);
    if (entry == host::backend_table().end()) {
      const std::string wish = tool::backend_wish(options.backend);  // before the environment is forgotten
      throw Error(fmt::format("{}: no backend has this name; accepted here: {}, null, lying:PROBABILITY", wish,
                              fmt::join(tool::usable_backends(), ", ")));
    }
    chosen = &*entry;
    s.forced = name;
  }
  s.scripts.push_back({chosen->name, chosen->on_cpu, 0, first_behaviour(options, faults), chosen->name});
  // The backend that takes over, and checks. Only the first one has faults.
  if (!faults.empty() || !chosen->on_cpu) {
    s.scripts.push_back({"reserve", true, 0, scripted::honest(), best_cpu->name});
  } else if (std::string_view(chosen->name) != "portable") {
    s.scripts.push_back({"reserve", true, 0, scripted::honest(), "portable"});
  }
  return s;
}

std::shared_ptr<host::Engine> make_engine(const ServeOptions& options, const Scripted& scripted) {
  host::EngineOptions engine_options;
  engine_options.backend = scripted.forced;
  if (options.threads != WARPKEM_THREADS_AUTO) engine_options.threads = options.threads;
  engine_options.pin_threads = !options.free_threads;
  try {
    return std::make_shared<host::Engine>(engine_options, scripted::table(scripted.scripts));
  } catch (const host::Error& error) {
    const std::string wish = scripted.forced.empty() ? "" : tool::backend_wish(options.backend);
    throw Error(fmt::format("{}{}", wish.empty() ? "the engine cannot start: " : wish + ": ", error.what()));
  }
}

}  // namespace

ServeReport serve_with_faults(const ServeOptions& options, const std::string& faults, const tool::Running& running) {
  const Scripted scripted = backends(options, faults);
  auto handle = std::make_unique<warpkem_engine>(make_engine(options, scripted));
  tool::configure(handle.get(), options);
  ServeReport report = tool::load(handle.get(), scripted.computes, options, running);
  report.lies = scripted.lies->load();
  if (report.lost != 0) static_cast<void>(handle.release());
  return report;
}

}  // namespace warpkem::bench
