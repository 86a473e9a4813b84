// The program, its subcommands (one file each), and the arguments that they take.
#pragma once

#include <fmt/core.h>
#include <warpkem/warpkem.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace warpkem::tool {

enum Exit : int { exit_ok = 0, exit_error = 1, exit_items_failed = 2 };

enum class Need { optional, required };

struct Command;  // the program or a subcommand, its options, and what its help says

// The parameter set of a name, an alias, an OID or the number in the name (768), whatever the case; 0: none.
warpkem_algorithm algorithm_named(const std::string& text);
// What algorithm_named() takes, for messages.
std::string accepted_algorithms();

// The arguments of one subcommand. Values are written where the references lead when the command line is parsed.
class Arguments {
 public:
  Arguments(Command& command, const std::vector<std::string>& words) : command_(command), words_(words) {}

  void file(const std::string& name, std::string& path, const std::string& description, Need need = Need::optional);
  void flag(const std::string& name, bool& value, const std::string& description);
  // `parse` gets the text and answers with what is accepted in its place; with nothing if it is good.
  void text(const std::string& name, const std::string& type, const std::string& description,
            std::function<std::string(const std::string&)> parse, Need need = Need::optional);
  void exactly_one(std::initializer_list<const char*> names) { choice(names, false); }
  void at_least_one(std::initializer_list<const char*> names) { choice(names, true); }

  // A paragraph at the end of the help; with rows, the terms that it explains.
  void note(const std::string& text, const std::vector<std::pair<std::string, std::string>>& rows = {});

  // A whole number in decimal digits, from `least` to `most`.
  template <class Integer>
  void number(const std::string& name, Integer& value, std::type_identity_t<Integer> least,
              std::type_identity_t<Integer> most, const std::string& description) {
    text(name, "N", description, [&value, least, most](const std::string& digits) -> std::string {
      const char* const end = digits.data() + digits.size();
      Integer parsed{};
      const auto [stop, error] = std::from_chars(digits.data(), end, parsed);
      if (error != std::errc() || stop != end || parsed < least || parsed > most) {
        return fmt::format("a whole number from {} to {}", least, most);
      }
      value = parsed;
      return "";
    });
  }
  // A number with or without a fraction, from `least` to `most`.
  void real(const std::string& name, const std::string& type, double& value, double least, double most,
            const std::string& description);

  void param(warpkem_algorithm& algorithm, Need need = Need::optional);
  void backend(std::string& backend,
               const std::string& by_default = "what WARPKEM_BACKEND names, else the best there is");
  void threads(std::uint32_t& threads);
  // Absent: dk_format_by_default.
  void dk_format(std::uint32_t& format);

 private:
  void choice(std::initializer_list<const char*> names, bool several);

  Command& command_;
  const std::vector<std::string>& words_;  // of the command line, once it is parsed
};

class Program {
 public:
  Program();
  ~Program();

  // A new subcommand. When it is named on the command line, run() ends with `run` and returns its exit status.
  Arguments add(const std::string& name, const std::string& description, std::function<int()> run);
  int run(int argc, char** argv);
  // A script for bash, zsh or fish, made from the commands and options that there are.
  std::string completion(const std::string& shell) const;
  // The manual pages, for troff: names of files and their text.
  std::vector<std::pair<std::string, std::string>> manual() const;

 private:
  void arrange();

  std::unique_ptr<Command> app_;
  std::vector<std::string> words_;
  int status_ = exit_ok;
};

void add_keygen(Program& program);
void add_encaps(Program& program);
void add_decaps(Program& program);
void add_check(Program& program);
void add_import(Program& program);
void add_export(Program& program);
void add_inspect(Program& program);
void add_completion(Program& program);
void add_manual(Program& program);
void add_acvp(Program& program);
void add_info(Program& program);
void add_selftest(Program& program);
void add_bench(Program& program);
void add_serve_bench(Program& program);
void add_tls_check(Program& program);  // in builds with libssl

}  // namespace warpkem::tool
