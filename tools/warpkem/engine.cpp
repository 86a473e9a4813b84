#include "tools/warpkem/engine.hpp"

#include <fmt/format.h>

#include "tools/warpkem/io.hpp"

namespace warpkem::tool {

void check(warpkem_status status) {
  if (status == WARPKEM_OK || status == WARPKEM_ITEM_FAILED) return;
  throw Error(fmt::format("{}: {}", warpkem_status_name(status), warpkem_last_error()));
}

Engine::Engine(const std::string& backend, std::uint32_t threads, std::uint32_t flags,
               const std::string& cuda_devices) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.backend = backend.empty() ? nullptr : backend.c_str();
  options.threads = threads;
  options.flags = flags;
  options.cuda_devices = cuda_devices.empty() ? nullptr : cuda_devices.c_str();
  const warpkem_status status = warpkem_engine_new(&options, &engine_);
  if (status == WARPKEM_OK) return;
  std::string text = fmt::format("{}{}", backend.empty() ? "" : "--backend " + backend + ": ", warpkem_last_error());
  if (!backend.empty() && backend != "auto") {
    const Engine any("auto");
    std::vector<std::string> names{"auto"};
    for (const auto& info : any.backends()) {
      if (info.available != 0) names.emplace_back(info.name);
    }
    text += fmt::format("; accepted here: {}", fmt::join(names, ", "));
  }
  throw Error(text);
}

std::vector<warpkem_backend_info> Engine::backends() const {
  std::vector<warpkem_backend_info> all;
  for (std::size_t i = 0;; ++i) {
    warpkem_backend_info info{};
    info.struct_size = sizeof info;
    if (warpkem_engine_backend(engine_, i, &info) != WARPKEM_OK) return all;
    all.push_back(info);
  }
}

}  // namespace warpkem::tool
