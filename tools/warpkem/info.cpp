// warpkem info: what this build and this machine can do.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tools/warpkem/cbom.hpp"
#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/io.hpp"
#include "tools/warpkem/text.hpp"

namespace warpkem::tool {
namespace {

using Json = nlohmann::ordered_json;

struct InfoOptions {
  bool json = false, cbom = false;
};

constexpr std::pair<const char*, std::uint32_t> sizes[] = {{"ek", WARPKEM_SIZE_EK},
                                                           {"dk", WARPKEM_SIZE_DK},
                                                           {"dk_seed", WARPKEM_SIZE_DK_SEED},
                                                           {"c", WARPKEM_SIZE_C},
                                                           {"K", WARPKEM_SIZE_K},
                                                           {"seed", WARPKEM_SIZE_SEED},
                                                           {"m", WARPKEM_SIZE_M},
                                                           {"dk_composite", WARPKEM_SIZE_DK_COMPOSITE},
                                                           {"seed_composite", WARPKEM_SIZE_SEED_COMPOSITE}};

// What each algorithm is for, and where its secret may go.
const char* purpose_of(warpkem_algorithm algorithm) {
  const warpkem_algorithm_info info = describe(algorithm);
  if (info.curve == nullptr) return "ML-KEM alone (FIPS 203): where rules ask for it";
  return info.combines != 0 ? "hybrid for every use: K is a key" : "hybrid of TLS 1.3: K is for a key schedule alone";
}

Json algorithms() {
  Json all = Json::array();
  for (warpkem_algorithm id = 1; warpkem_algorithm_name(id) != nullptr; ++id) {
    Json one = {{"name", warpkem_algorithm_name(id)}, {"id", id}, {"oid", nullptr}, {"purpose", purpose_of(id)}};
    if (const char* const oid = warpkem_algorithm_oid(id)) one["oid"] = oid;
    for (const auto& [name, what] : sizes) one["sizes"][name] = warpkem_size(id, what);
    all.push_back(std::move(one));
  }
  return all;
}

Json backends(const Engine& engine) {
  Json all = Json::array();
  for (const auto& info : engine.backends()) {
    Json one = {{"name", info.name},
                {"available", info.available != 0},
                {"preferred", info.preferred != 0},
                {"detail", info.detail != nullptr ? info.detail : ""}};
    if (info.available != 0) {
      const bool passed = warpkem_selftest(engine.get(), info.name) == WARPKEM_OK;
      one["selftest"] = passed ? std::string("passed") : std::string("failed: ") + warpkem_last_error();
    }
    all.push_back(std::move(one));
  }
  return all;
}

Json statuses() {
  Json all = Json::array();
  for (warpkem_status status = 0; status < 256; ++status) {
    const std::string meaning = meaning_of(status);
    if (meaning.empty()) continue;
    all.push_back({{"status", status}, {"name", warpkem_status_name(status)}, {"meaning", meaning}});
  }
  return all;
}

std::string info_as_text(const Json& report) {
  // Lines are cut to the terminal's width only: what reads a pipe wants whole ones.
  const std::size_t width = isatty(STDOUT_FILENO) == 1 ? text_width(STDOUT_FILENO) : SIZE_MAX;
  const auto hanging = [width](const std::string& begin, const std::string& rest) {
    const std::size_t indent = width < begin.size() + 20 ? 4 : begin.size();
    return begin + wrapped(rest, width, indent, begin.size()) + "\n";
  };
  std::string text = fmt::format("WarpKEM {}\n", report["version"].get<std::string>());
  text += hanging("CPU features: ", report["cpu_features"].get<std::string>());
  text += fmt::format("\n{:<18}", "algorithm");
  const auto columns = [](const char* name) { return std::max<std::size_t>(5, std::strlen(name) + 1); };
  const auto each_column = [&](const auto& add) {
    for (const auto& [name, what] : sizes) {
      if (what != WARPKEM_SIZE_DK_COMPOSITE && what != WARPKEM_SIZE_SEED_COMPOSITE) add(name);
    }
  };
  each_column([&](const char* name) { text += fmt::format("{:>{}}", name, columns(name)); });
  text += " bytes\n";
  for (const auto& one : report["algorithms"]) {
    text += fmt::format("{:<18}", one["name"].get<std::string>());
    each_column(
        [&](const char* name) { text += fmt::format("{:>{}}", one["sizes"][name].get<std::size_t>(), columns(name)); });
    text += "\n";
  }
  text += "\n";
  for (const auto& one : report["algorithms"]) {
    std::string rest = one["purpose"].get<std::string>();
    if (!one["oid"].is_null()) rest += fmt::format("; OID {}", one["oid"].get<std::string>());
    const auto& bytes = one["sizes"];
    if (bytes["dk_composite"].get<std::size_t>() != 0) {
      rest += fmt::format("; composite dk of {} bytes, from seeds of {}", bytes["dk_composite"].get<std::size_t>(),
                          bytes["seed_composite"].get<std::size_t>());
    }
    text += hanging(fmt::format("{:<18} ", one["name"].get<std::string>()), rest);
  }
  text += fmt::format("\n{:<10} {:<14} {:<9} {}\n", "backend", "available", "self-test", "detail");
  for (const auto& one : report["backends"]) {
    const bool preferred = one["preferred"].get<bool>();
    text += hanging(fmt::format("{:<10} {:<14} {:<9} ", one["name"].get<std::string>(),
                                !one["available"].get<bool>() ? "no"
                                : preferred                   ? "yes, preferred"
                                                              : "yes",
                                one.value("selftest", "-")),
                    one["detail"].get<std::string>());
  }
  text += "\nstatus of an item (as --status writes it) or of a call\n";
  for (const auto& one : report["statuses"]) {
    text += hanging(fmt::format("{:>6}  {:<26} ", one["status"].get<std::uint32_t>(), one["name"].get<std::string>()),
                    one["meaning"].get<std::string>());
  }
  return text;
}

int info(const InfoOptions& options) {
  const Engine engine;
  if (options.cbom) {
    write_stdout(cbom(engine).dump(2) + "\n");
    return exit_ok;
  }
  const Json report = {{"version", warpkem_version()},
                       {"algorithms", algorithms()},
                       {"cpu_features", warpkem_cpu_features()},
                       {"backends", backends(engine)},
                       {"statuses", statuses()}};
  write_stdout(options.json ? report.dump(2) + "\n" : info_as_text(report));
  for (const auto& one : report["backends"]) {
    if (one.value("selftest", "passed") != "passed") return exit_error;
  }
  return exit_ok;
}

}  // namespace

void add_info(Program& program) {
  const auto options = std::make_shared<InfoOptions>();
  Arguments arguments =
      program.add("info", "Say what this build and this machine can do", [options] { return info(*options); });
  arguments.flag("--json", options->json, "As JSON");
  arguments.flag("--cbom", options->cbom,
                 "A cryptographic bill of materials, CycloneDX 1.6: algorithms, their strength and parts, backends, "
                 "libcrypto's version. It says what may be used; what is, the metrics say (warpkem_items_total)");
}

}  // namespace warpkem::tool
