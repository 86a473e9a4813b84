#include "tools/warpkem/commands.hpp"

namespace warpkem::tool {
namespace {

// An empty name, as from an unset variable of a shell, must not count as an option that was not given.
std::string not_empty(const std::string& text) { return text.empty() ? "is empty; a name is needed" : ""; }

}  // namespace

CLI::Option* add_param(CLI::App& command, warpkem_algorithm& algorithm) {
  const auto parse = [&algorithm](const std::string& text) {
    algorithm = warpkem_algorithm_by_name(text.c_str());
    if (algorithm != 0) return;
    std::string names;
    for (warpkem_algorithm known = 1; warpkem_algorithm_name(known) != nullptr; ++known) {
      names += fmt::format("{}{}", names.empty() ? "" : ", ", warpkem_algorithm_name(known));
    }
    throw CLI::ValidationError("--param", fmt::format("'{}' is unknown; accepted: {}, or the OID of one", text, names));
  };
  return command
      .add_option_function<std::string>("--param", parse, "Parameter set: ML-KEM-512, ML-KEM-768, ML-KEM-1024")
      ->type_name("P");
}

CLI::Option* add_backend(CLI::App& command, std::string& backend) {
  return command.add_option("--backend", backend, "Backend, see 'warpkem info' (default: the best there is)")
      ->type_name("B")
      ->check(not_empty, "");
}

CLI::Option* add_threads(CLI::App& command, std::uint32_t& threads) {
  return add_number(command, "--threads", threads, 1, 4096,
                    "Threads of the CPU, the calling one among them (default: as many as there are cores)");
}

CLI::Option* add_dk_format(CLI::App& command, std::uint32_t& format) {
  const auto parse = [&format](const std::string& text) {
    if (text == "expanded") {
      format = WARPKEM_DK_EXPANDED;
    } else if (text == "seed") {
      format = WARPKEM_DK_SEED;
    } else {
      throw CLI::ValidationError("--dk-format", fmt::format("'{}' is unknown; accepted: expanded, seed", text));
    }
  };
  return command
      .add_option_function<std::string>("--dk-format", parse,
                                        "Form of the dk file: expanded (default) or seed (d || z)")
      ->type_name("FORM");
}

CLI::Option* add_file(CLI::App& command, const std::string& name, std::string& path, const std::string& description) {
  return command.add_option(name, path, description)->type_name("FILE")->check(not_empty, "");
}

void add_job_options(CLI::App& command, JobOptions& options) {
  add_param(command, options.param)->required();
  add_backend(command, options.backend);
  add_threads(command, options.threads);
  add_number(command, "--batch", options.batch, 1, std::size_t{1} << 24, "Items per call and in memory (default 8192)");
  add_file(command, "--status", options.status, "Write one byte per item here: 0, or the number of its status");
  command.add_flag("--json", options.json, "Print a summary on standard output as JSON");
}

void add_key_reuse(CLI::App& command, std::uint64_t& key_reuse) {
  add_number(command, "--key-reuse", key_reuse, 1, std::uint64_t{1} << 40,
             "Each key serves N consecutive items (default 1)");
}

}  // namespace warpkem::tool
