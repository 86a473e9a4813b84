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

namespace CLI {
class App;
}

namespace warpkem::tool {

enum Exit : int { exit_ok = 0, exit_error = 1, exit_items_failed = 2 };

enum class Need { optional, required };

// The arguments of one subcommand. Values are written where the references lead when the command line is parsed. (A
// door to CLI11, which takes ten seconds to compile wherever it is included.)
class Arguments {
 public:
  explicit Arguments(CLI::App& app) : app_(app) {}

  void file(const std::string& name, std::string& path, const std::string& description, Need need = Need::optional);
  void flag(const std::string& name, bool& value, const std::string& description);
  // `parse` gets the text and answers with what is accepted in its place; with nothing if it is good.
  void text(const std::string& name, const std::string& type, const std::string& description,
            std::function<std::string(const std::string&)> parse, Need need = Need::optional);
  void exactly_one(const std::string& description, std::initializer_list<const char*> names);

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

  void param(warpkem_algorithm& algorithm, Need need = Need::optional);
  void backend(std::string& backend);
  void threads(std::uint32_t& threads);
  void dk_format(std::uint32_t& format);

 private:
  CLI::App& app_;
};

class Program {
 public:
  Program();
  ~Program();

  // A new subcommand. When it is named on the command line, run() ends with `command` and returns its exit status.
  Arguments add(const std::string& name, const std::string& description, std::function<int()> command);
  int run(int argc, char** argv);

 private:
  std::unique_ptr<CLI::App> app_;
  std::function<int()> chosen_;
};

void add_keygen(Program& program);
void add_encaps(Program& program);
void add_decaps(Program& program);
void add_check(Program& program);
void add_info(Program& program);
void add_selftest(Program& program);
void add_bench(Program& program);
void add_serve_bench(Program& program);

}  // namespace warpkem::tool
