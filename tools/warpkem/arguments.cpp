// The one file that includes CLI11.
#include <CLI/CLI.hpp>

#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/io.hpp"

namespace warpkem::tool {

void Arguments::text(const std::string& name, const std::string& type, const std::string& description,
                     std::function<std::string(const std::string&)> parse, Need need) {
  const auto callback = [name, parse = std::move(parse)](const std::string& text) {
    const std::string accepted = parse(text);
    if (!accepted.empty()) throw CLI::ValidationError(name, fmt::format("'{}' is not accepted; {} is", text, accepted));
  };
  app_.add_option_function<std::string>(name, callback, description)->type_name(type)->required(need == Need::required);
}

void Arguments::file(const std::string& name, std::string& path, const std::string& description, Need need) {
  // An empty name, as from an unset variable of a shell, must not count as an option that was not given.
  const auto parse = [&path](const std::string& text) {
    path = text;
    return std::string(text.empty() ? "the name of a file" : "");
  };
  text(name, "FILE", description, parse, need);
}

void Arguments::flag(const std::string& name, bool& value, const std::string& description) {
  app_.add_flag(name, value, description);
}

void Arguments::exactly_one(const std::string& description, std::initializer_list<const char*> names) {
  CLI::Option_group* const group = app_.add_option_group("one", description);
  for (const char* const name : names) group->add_option(app_.get_option(name));
  group->require_option(1);
}

void Arguments::param(warpkem_algorithm& algorithm, Need need) {
  std::string names;
  for (warpkem_algorithm known = 1; warpkem_algorithm_name(known) != nullptr; ++known) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", warpkem_algorithm_name(known));
  }
  const auto parse = [&algorithm, names](const std::string& text) {
    algorithm = warpkem_algorithm_by_name(text.c_str());
    return algorithm != 0 ? std::string() : fmt::format("one of {}, or its OID,", names);
  };
  text("--param", "P", "Parameter set: " + names, parse, need);
}

void Arguments::backend(std::string& backend) {
  const auto parse = [&backend](const std::string& text) {
    backend = text;
    return std::string(text.empty() ? "a name that 'warpkem info' lists" : "");
  };
  text("--backend", "B", "Backend, see 'warpkem info' (default: the best there is)", parse);
}

void Arguments::threads(std::uint32_t& threads) {
  number("--threads", threads, 1, 4096,
         "Threads of the CPU, the calling one among them (default: as many as there are cores)");
}

void Arguments::dk_format(std::uint32_t& format) {
  const auto parse = [&format](const std::string& text) {
    format = text == "seed" ? WARPKEM_DK_SEED : WARPKEM_DK_EXPANDED;
    return std::string(text == "seed" || text == "expanded" ? "" : "expanded or seed");
  };
  text("--dk-format", "FORM", "Form of the dk: expanded (default) or seed (d || z)", parse);
}

Program::Program()
    : app_(std::make_unique<CLI::App>(
          "Batch ML-KEM (FIPS 203): raw concatenated records in, raw concatenated records out.", "warpkem")) {
  app_->set_version_flag("--version", fmt::format("warpkem {}", warpkem_version()));
  app_->footer("FILE '-' is standard input or output. Exit status: 0; 1 wrong usage or I/O; 2 some items failed.");
  app_->require_subcommand(1);
  app_->get_formatter()->column_width(28);
}

Program::~Program() = default;

Arguments Program::add(const std::string& name, const std::string& description, std::function<int()> command) {
  CLI::App* const added = app_->add_subcommand(name, description);
  added->callback([this, command = std::move(command)] { chosen_ = command; });
  return Arguments(*added);
}

int Program::run(int argc, char** argv) {
  try {
    app_->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      const std::string text = error.get_name() == "CallForHelp" ? app_->help() : error.what();
      write_stdout(text.ends_with('\n') ? text : text + "\n");
      return exit_ok;
    }
    const auto named = app_->get_subcommands();
    const std::string who = named.empty() ? "warpkem" : "warpkem " + named.front()->get_name();
    std::string text = error.what();
    if (named.empty() && argc > 1) {
      text = fmt::format("'{}' is no command; accepted:", argv[1]);
      for (const auto* const command : app_->get_subcommands({})) text += " " + command->get_name();
    }
    fmt::print(stderr, "{}: {}\nSee '{} --help' for what is accepted.\n", who, text, who);
    return exit_error;
  }
  return chosen_();
}

}  // namespace warpkem::tool
