// The subcommands, one file each, and the arguments that they share.
#pragma once

#include <fmt/core.h>
#include <warpkem/warpkem.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace warpkem::tool {

enum Exit : int { exit_ok = 0, exit_error = 1, exit_items_failed = 2 };

// Each adds its subcommand to `app`; when that one is named, `chosen` becomes what runs it and returns the exit status.
using Command = std::function<int()>;
void add_keygen(CLI::App& app, Command& chosen);
void add_encaps(CLI::App& app, Command& chosen);
void add_decaps(CLI::App& app, Command& chosen);
void add_check(CLI::App& app, Command& chosen);
void add_info(CLI::App& app, Command& chosen);
void add_selftest(CLI::App& app, Command& chosen);
void add_bench(CLI::App& app, Command& chosen);

// A subcommand with options of type `Options`, which `run` gets.
template <class Options>
CLI::App& add_command(CLI::App& app, Command& chosen, const std::string& name, const std::string& description,
                      const std::shared_ptr<Options>& options, int (*run)(const Options&)) {
  CLI::App* const command = app.add_subcommand(name, description);
  command->callback([&chosen, options, run] { chosen = [options, run] { return run(*options); }; });
  return *command;
}

// A whole number in decimal digits, from `least` to `most`.
template <class Integer>
CLI::Option* add_number(CLI::App& command, const std::string& name, Integer& value, std::type_identity_t<Integer> least,
                        std::type_identity_t<Integer> most, const std::string& description) {
  const auto parse = [name, least, most, &value](const std::string& text) {
    const char* const end = text.data() + text.size();
    Integer number{};
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc() || stop != end || number < least || number > most) {
      throw CLI::ValidationError(
          name, fmt::format("'{}' is not accepted; a whole number from {} to {} is", text, least, most));
    }
    value = number;
  };
  return command.add_option_function<std::string>(name, parse, description)->type_name("N");
}

CLI::Option* add_param(CLI::App& command, warpkem_algorithm& algorithm);
CLI::Option* add_backend(CLI::App& command, std::string& backend);
CLI::Option* add_threads(CLI::App& command, std::uint32_t& threads);
CLI::Option* add_dk_format(CLI::App& command, std::uint32_t& format);
CLI::Option* add_file(CLI::App& command, const std::string& name, std::string& path, const std::string& description);

// What keygen, encaps, decaps and check have in common.
struct JobOptions {
  warpkem_algorithm param = 0;
  std::string backend;
  std::uint32_t threads = WARPKEM_THREADS_AUTO;
  std::size_t batch = 8192;
  std::string status;
  bool json = false;
};
void add_job_options(CLI::App& command, JobOptions& options);
void add_key_reuse(CLI::App& command, std::uint64_t& key_reuse);

}  // namespace warpkem::tool
