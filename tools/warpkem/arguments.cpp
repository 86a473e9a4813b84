// The command line: which command, options and values its words are, what is wrong with them, and the help.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>

#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/io.hpp"
#include "tools/warpkem/text.hpp"

namespace warpkem::tool {

struct Command {
  struct Option {
    std::string name, type, description;  // a flag has no type
    Need need;
    std::function<std::string(const std::string&)> parse;
    std::optional<std::string> value;  // as given; of a flag, empty
  };
  struct Choice {
    std::vector<std::string> names;
    bool several;  // may be given
  };
  struct Note {
    std::string text;
    std::vector<std::pair<std::string, std::string>> rows;
  };

  const Option* find(std::string_view option) const {
    const auto found = std::find_if(options.begin(), options.end(), [&](const Option& o) { return o.name == option; });
    return found == options.end() ? nullptr : &*found;
  }
  Option* find(std::string_view option) { return const_cast<Option*>(std::as_const(*this).find(option)); }
  // "--ek FILE", with a space that no line ends at.
  std::string usage_of(std::string_view option) const {
    const Option& o = *find(option);
    return o.name + (o.type.empty() ? "" : "\t" + o.type);
  }

  std::string name, description;
  std::function<int()> run;
  std::vector<Option> options;
  std::vector<Choice> choices;
  std::vector<Note> notes;
};

namespace {

// Names that other programs have for the same thing.
constexpr std::pair<const char*, const char*> synonyms[] = {
    {"--pk", "--ek"},         {"--public-key", "--ek"},    {"--pubkey", "--ek"},           {"--sk", "--dk"},
    {"--secret-key", "--dk"}, {"--private-key", "--dk"},   {"--privkey", "--dk"},          {"--ct", "--ciphertext"},
    {"--c", "--ciphertext"},  {"--ss", "--shared-secret"}, {"--K", "--shared-secret"},     {"--key", "--shared-secret"},
    {"--alg", "--param"},     {"--algorithm", "--param"},  {"--parameter-set", "--param"}, {"--level", "--param"},
    {"--number", "--count"},  {"--num", "--count"},        {"--items", "--count"},         {"--jobs", "--threads"},
    {"--message", "--m"},     {"--randomness", "--m"},     {"--seed", "--seeds"},          {"--format", "--dk-format"}};

const char* const exit_note =
    "Exit status: 0 success; 1 wrong usage, or input, output or a backend that does not work; 2 some items failed.";

bool is_help(const std::string& word) { return word == "-h" || word == "--help"; }
bool is_option(const std::string& word) { return word.size() > 1 && word.front() == '-'; }
std::string name_of_option(const std::string& word) { return word.substr(0, word.find('=')); }

template <class Range, class Get>
std::string joined(const Range& range, const char* between, Get get) {
  std::string all;
  for (const auto& one : range) all += (all.empty() ? "" : between) + std::string(get(one));
  return all;
}
std::string joined(const std::vector<std::string>& words, const char* between) {
  return joined(words, between, [](const std::string& word) { return word; });
}

// What is wrong with a command line, and whose help says what would be right.
class WrongUsage : public Error {
 public:
  explicit WrongUsage(const std::string& text, std::string who = "warpkem") : Error(text), who_(std::move(who)) {}
  const std::string& who() const noexcept { return who_; }

 private:
  std::string who_;
};

// ---- help ----

std::string usage(const Command& command, std::size_t width) {
  std::string text = "Usage: warpkem\t" + command.name;
  for (const auto& option : command.options) {
    if (option.need == Need::required) text += " " + command.usage_of(option.name);
  }
  for (const auto& choice : command.choices) {
    text += " (" + joined(choice.names, "\t| ", [&](const std::string& name) { return command.usage_of(name); }) + ")";
  }
  return wrapped(text + " [OPTION...]", width, 7, 0) + "\n";
}

std::string help_of(const Command& command, std::size_t width) {
  std::string text = usage(command, width) + "\n" + wrapped(command.description + ".", width, 0, 0) + "\n\nOptions:\n";
  constexpr std::size_t column = 24;
  std::vector<Command::Option> options = command.options;
  std::stable_partition(options.begin(), options.end(), [](const auto& o) { return o.need == Need::required; });
  for (const auto& option : options) {
    const std::string needed = option.need == Need::required ? " (required)" : "";
    text +=
        entry(option.name + (option.type.empty() ? "" : " " + option.type), option.description + needed, width, column);
  }
  text += entry("-h, --help", "Print this help", width, column);
  for (const auto& note : command.notes) {
    text += "\n" + wrapped(note.text, width, 0, 0) + "\n";
    for (const auto& [term, description] : note.rows) text += entry(term, description, width, 6);
  }
  return text + "\n" + wrapped(exit_note, width, 0, 0) + "\n";
}

std::string general_help(const std::vector<std::unique_ptr<Command>>& commands, std::size_t width) {
  std::string text =
      wrapped("Usage: warpkem\tCOMMAND [OPTION...]", width, 7, 0) + "\n       warpkem help [COMMAND]\n\n" +
      wrapped("Batch ML-KEM (FIPS 203): raw concatenated records in, raw concatenated records out.", width, 0, 0) +
      "\n\nCommands:\n";
  constexpr std::size_t column = 16;
  for (const auto& command : commands) text += entry(command->name, command->description, width, column);
  text += entry("help", "Say what a command does and which options it has", width, column);
  text += "\nOptions:\n";
  text += entry("-h, --help", "Print this help; of a command where one is named", width, column);
  text += entry("--version", "Print the version", width, column);
  text += "\n";
  text += wrapped(
      "'warpkem help COMMAND' lists the options of a command; they may stand before and after it, as --name VALUE or "
      "--name=VALUE.",
      width, 0, 0);
  text += "\n\n";
  text += wrapped(
      "FILE is a file, a pipe or a device; '-' is standard input or output. 'warpkem info' lists the sizes of records, "
      "the backends, and what the numbers of statuses mean.",
      width, 0, 0);
  text += "\n\n";
  text += wrapped(
      "Environment: WARPKEM_BACKEND names the backend where --backend does not; WARPKEM_CUDA_GRAPHS=0 keeps the CUDA "
      "backend from using CUDA graphs.",
      width, 0, 0);
  text += "\n\n";
  return text + wrapped(exit_note, width, 0, 0) + "\n";
}

// ---- what is wrong ----

// Options that the command does not have, with what may have been meant. NULL: the command is not known yet.
std::string unknown_options(const std::vector<std::string>& words, const Command* command,
                            const std::vector<std::unique_ptr<Command>>& commands) {
  std::vector<std::string> own;
  for (const auto& one : commands) {
    for (const auto& option : one->options) {
      if (command == nullptr || one.get() == command) own.push_back(option.name);
    }
  }
  return joined(words, "; ", [&](const std::string& word) {
    const std::string name = name_of_option(word);
    std::string text = fmt::format("unknown option '{}'", name);
    std::string meant;
    for (const auto& [other, ours] : synonyms) {
      if (name == other && std::find(own.begin(), own.end(), ours) != own.end()) meant = ours;
    }
    if (meant.empty()) meant = nearest(name, own);
    if (!meant.empty()) return text + " (did you mean " + meant + "?)";
    std::vector<std::string> owners;
    for (const auto& one : commands) {
      if (one->find(name) != nullptr) owners.push_back(one->name);
    }
    return owners.empty() ? text : text + ", which " + joined(owners, ", ") + (owners.size() == 1 ? " has" : " have");
  });
}

std::string no_command(const std::string& word, std::vector<std::string> names) {
  names.emplace_back("help");
  const std::string meant = nearest(word, names);
  return fmt::format("'{}' is no command{}; accepted: {}", word,
                     meant.empty() ? "" : fmt::format(" (did you mean {}?)", meant), joined(names, ", "));
}

// Sorts the words, without the command, into options and their values. Throws WrongUsage: options that nobody knows
// come first, for they explain what else is wrong.
void take_words(Command& command, const std::vector<std::string>& words,
                const std::vector<std::unique_ptr<Command>>& commands) {
  const std::string who = "warpkem " + command.name;
  std::vector<std::string> unknown, stray;
  std::string wrong;  // the first thing that is, of a known option
  const auto refuse = [&wrong](const std::string& text) {
    if (wrong.empty()) wrong = text;
  };
  bool options_end = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (options_end || !is_option(word)) {
      stray.push_back(word);
      continue;
    }
    if (word == "--") {
      options_end = true;
      continue;
    }
    const std::size_t equals = word.find('=');
    Command::Option* const option = command.find(name_of_option(word));
    if (option == nullptr) {
      unknown.push_back(word);
      continue;
    }
    if (option->type.empty()) {
      if (equals != std::string::npos) refuse(option->name + " takes no value");
      option->value.emplace();
      continue;
    }
    if (option->value) refuse(option->name + " is given more than once");
    if (equals != std::string::npos) {
      option->value = word.substr(equals + 1);
    } else if (i + 1 == words.size()) {
      refuse(fmt::format("{} needs a value, {}", option->name, option->type));
    } else if (words[i + 1].starts_with("--")) {
      refuse(fmt::format("{0} needs a value, {1}, and '{2}' looks like an option; if it is meant: {0}={2}",
                         option->name, option->type, words[i + 1]));
    } else {
      option->value = words[++i];
    }
  }
  if (!unknown.empty()) throw WrongUsage(unknown_options(unknown, &command, commands), who);
  if (!wrong.empty()) throw WrongUsage(wrong, who);
  if (!stray.empty()) throw WrongUsage(fmt::format("'{}' belongs to no option", joined(stray, "', '")), who);
}

// What the values say, and whether all are there. Throws WrongUsage.
void take_values(const Command& command) {
  const std::string who = "warpkem " + command.name;
  for (const auto& option : command.options) {
    if (!option.value) continue;
    if (const std::string accepted = option.parse(*option.value); !accepted.empty()) {
      throw WrongUsage(fmt::format("{}: '{}' is not accepted; {} is", option.name, *option.value, accepted), who);
    }
  }
  std::vector<std::string> missing;
  for (const auto& option : command.options) {
    if (option.need == Need::required && !option.value) missing.push_back(command.usage_of(option.name));
  }
  for (const auto& choice : command.choices) {
    std::vector<std::string> given, all;
    for (const std::string& name : choice.names) {
      if (command.find(name)->value) given.push_back(name);
      all.push_back(command.usage_of(name));
    }
    if (given.size() > 1 && !choice.several) {
      throw WrongUsage(fmt::format("{} exclude each other; give one", joined(given, " and ")), who);
    }
    if (given.empty()) missing.push_back("(" + joined(all, " or ") + ")");
  }
  if (missing.empty()) return;
  std::string text = "missing: " + joined(missing, ", ");
  std::replace(text.begin(), text.end(), '\t', ' ');
  throw WrongUsage(text, who);
}

}  // namespace

// ---- the arguments of a command ----

warpkem_algorithm algorithm_named(const std::string& text) {
  std::string name = text;
  std::replace(name.begin(), name.end(), '_', '-');
  if (const warpkem_algorithm algorithm = warpkem_algorithm_by_name(name.c_str()); algorithm != 0) return algorithm;
  return warpkem_algorithm_by_name(("ML-KEM-" + name).c_str());
}

std::string accepted_algorithms() {
  std::string names;
  for (warpkem_algorithm known = 1; warpkem_algorithm_name(known) != nullptr; ++known) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", warpkem_algorithm_name(known));
  }
  return names;
}

void Arguments::text(const std::string& name, const std::string& type, const std::string& description,
                     std::function<std::string(const std::string&)> parse, Need need) {
  command_.options.push_back({name, type, description, need, std::move(parse), std::nullopt});
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
  const auto parse = [&value](const std::string&) {
    value = true;
    return std::string();
  };
  command_.options.push_back({name, "", description, Need::optional, parse, std::nullopt});
}

void Arguments::exactly_one(std::initializer_list<const char*> names) {
  command_.choices.push_back({{names.begin(), names.end()}, false});
}

void Arguments::at_least_one(std::initializer_list<const char*> names) {
  command_.choices.push_back({{names.begin(), names.end()}, true});
}

void Arguments::note(const std::string& text, std::vector<std::pair<std::string, std::string>> rows) {
  command_.notes.push_back({text, std::move(rows)});
}

void Arguments::real(const std::string& name, const std::string& type, double& value, double least, double most,
                     const std::string& description) {
  text(name, type, description, [&value, least, most](const std::string& digits) -> std::string {
    const char* const end = digits.data() + digits.size();
    double parsed = 0;
    const auto [stop, error] = std::from_chars(digits.data(), end, parsed);
    if (error != std::errc() || stop != end || !(parsed >= least && parsed <= most)) {
      return fmt::format("a number from {} to {}", least, most);
    }
    value = parsed;
    return "";
  });
}

void Arguments::param(warpkem_algorithm& algorithm, Need need) {
  const auto parse = [&algorithm](const std::string& text) {
    algorithm = algorithm_named(text);
    return algorithm != 0 ? std::string()
                          : fmt::format("one of {}, its number (768) or its OID,", accepted_algorithms());
  };
  text("--param", "P", "Parameter set: " + accepted_algorithms() + "; 768 and mlkem768 will do", parse, need);
}

void Arguments::backend(std::string& backend, const std::string& by_default) {
  const auto parse = [&backend](const std::string& text) {
    backend = text;
    return std::string(text.empty() ? "a name that 'warpkem info' lists" : "");
  };
  text("--backend", "B", fmt::format("Backend, see 'warpkem info' (default: {})", by_default), parse);
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

// ---- the program ----

Program::Program() = default;
Program::~Program() = default;

Arguments Program::add(const std::string& name, const std::string& description, std::function<int()> command) {
  commands_.push_back(std::make_unique<Command>());
  Command& added = *commands_.back();
  added.name = name;
  added.description = description;
  added.run = std::move(command);
  return Arguments(added);
}

Command* Program::find(const std::string& name) const {
  const auto found =
      std::find_if(commands_.begin(), commands_.end(), [&](const auto& command) { return command->name == name; });
  return found == commands_.end() ? nullptr : found->get();
}

std::vector<std::string> Program::names() const {
  std::vector<std::string> all;
  for (const auto& command : commands_) all.push_back(command->name);
  return all;
}

std::size_t Program::position_of_command(const std::vector<std::string>& words) const {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (!is_option(words[i])) return i;
    for (const auto& command : commands_) {
      const auto* const option = command->find(words[i]);
      if (option == nullptr || option->type.empty()) continue;
      ++i;
      break;
    }
  }
  return words.size();
}

int Program::print_help(const Command* command) const {
  const std::size_t width = text_width(STDOUT_FILENO);
  write_stdout(command != nullptr ? help_of(*command, width) : general_help(commands_, width));
  return exit_ok;
}

int Program::run(int argc, char** argv) {
  try {
    std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
    const std::size_t position = position_of_command(words);
    const bool help = std::any_of(words.begin(), words.end(), is_help);
    if (!help && std::find(words.begin(), words.end(), "--version") != words.end()) {
      write_stdout(fmt::format("warpkem {}\n", warpkem_version()));
      return exit_ok;
    }
    const std::string name = position < words.size() ? words[position] : "";
    if (find(name) == nullptr && name != "help") {
      if (help && name.empty()) return print_help(nullptr);
      std::vector<std::string> unknown;
      for (const std::string& word :
           std::vector(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(position))) {
        const auto has_it = [&](const auto& command) { return command->find(name_of_option(word)) != nullptr; };
        if (is_option(word) && word != "--" && !is_help(word) &&
            std::none_of(commands_.begin(), commands_.end(), has_it))
          unknown.push_back(word);
      }
      const std::string wrong = unknown.empty() ? "" : unknown_options(unknown, nullptr, commands_) + "; ";
      if (name.empty() || !unknown.empty()) throw WrongUsage(wrong + "a command is needed: " + joined(names(), ", "));
      throw WrongUsage(no_command(name, names()));
    }
    words.erase(words.begin() + static_cast<std::ptrdiff_t>(position));
    if (name == "help") {
      std::erase_if(words, is_help);
      if (words.empty() || words[0] == "help") return print_help(nullptr);
      const Command* const about = find(words[0]);
      if (about == nullptr) throw WrongUsage(no_command(words[0], names()));
      return print_help(about);
    }
    Command* const command = find(name);
    if (help) return print_help(command);
    take_words(*command, words, commands_);
    take_values(*command);
    return command->run();
  } catch (const WrongUsage& error) {
    write_stderr({error.who(), ": ", error.what(), "\nSee '", error.who(), " --help' for what is accepted.\n"});
    return exit_error;
  }
}

}  // namespace warpkem::tool
