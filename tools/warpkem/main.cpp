// warpkem: ML-KEM for files of raw records, by the thousand. Exit status: 0; 1 wrong usage or I/O; 2 some items failed.
#include <exception>

#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/io.hpp"

int main(int argc, char** argv) {
  using namespace warpkem::tool;
  prepare_process();

  CLI::App app("Batch ML-KEM (FIPS 203): raw concatenated records in, raw concatenated records out.", "warpkem");
  app.set_version_flag("--version", fmt::format("warpkem {}", warpkem_version()));
  app.footer("FILE '-' is standard input or output. Exit status: 0; 1 wrong usage or I/O; 2 some items failed.");
  app.require_subcommand(1);
  app.get_formatter()->column_width(28);
  Command chosen;
  for (const auto add : {add_keygen, add_encaps, add_decaps, add_check, add_info, add_selftest, add_bench})
    add(app, chosen);

  try {
    app.parse(argc, argv);
    return chosen();
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      std::string text = error.what();
      if (error.get_name() == "CallForHelp") text = app.help();
      write_stdout(text.ends_with('\n') ? text : text + "\n");
      return exit_ok;
    }
    const auto named = app.get_subcommands();
    const std::string who = named.empty() ? "warpkem" : "warpkem " + named.front()->get_name();
    std::string text = error.what();
    if (named.empty() && argc > 1) {
      text = fmt::format("'{}' is no command; accepted:", argv[1]);
      for (const auto* const command : app.get_subcommands({})) text += " " + command->get_name();
    }
    fmt::print(stderr, "{}: {}\nSee '{} --help' for what is accepted.\n", who, text, who);
  } catch (const std::exception& error) {
    fmt::print(stderr, "warpkem: {}\n", error.what());
  }
  return exit_error;
}
