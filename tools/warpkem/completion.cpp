// warpkem completion: the script by which a shell completes commands, options and what has few values.
#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/io.hpp"

namespace warpkem::tool {
namespace {

constexpr const char* shells[] = {"bash", "zsh", "fish"};

}  // namespace

void add_completion(Program& program) {
  const auto shell = std::make_shared<std::string>();
  Arguments arguments =
      program.add("completion", "Print the script by which a shell completes the command line", [shell, &program] {
        write_stdout(program.completion(*shell));
        return exit_ok;
      });
  const auto parse = [shell](const std::string& text) {
    for (const char* const known : shells) {
      if (text == known) *shell = text;
    }
    return std::string(shell->empty() ? "bash, zsh or fish" : "");
  };
  arguments.text("--shell", "SHELL", "bash, zsh or fish", parse, Need::required);
  arguments.note(
      "bash: source <(warpkem completion --shell bash). zsh, after compinit: source <(warpkem completion --shell zsh). "
      "fish: warpkem completion --shell fish | source.");
}

}  // namespace warpkem::tool
