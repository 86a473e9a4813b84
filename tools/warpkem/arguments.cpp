// The command line, the one file that includes CLI11: which command, options and values its words are, what is wrong
// with them, and the help.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/io.hpp"
#include "tools/warpkem/text.hpp"

namespace warpkem::tool {

// A paragraph at the end of the help; with rows, the terms that it explains.
struct Note {
  std::string text;
  std::vector<std::pair<std::string, std::string>> rows;
};

// The program itself, or a subcommand.
//
// Not with an option group of CLI11 for each choice: 2.1 takes an empty word for a command that bears the group's name,
// and hangs.
struct Command : CLI::App {
  struct Choice {
    std::vector<const CLI::Option*> options;
    bool several;  // may be given
  };

  Command(const std::string& description, const std::string& name, CLI::App* program)
      : App(description, name, program) {}

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

bool is_help(const std::string& word) { return word == "-h" || word == "--help"; }
bool is_option(const std::string& word) { return word.size() > 1 && word.front() == '-'; }
std::string option_name(const std::string& option) { return option.substr(0, option.find('=')); }

bool is_flag(const CLI::Option* option) { return option->get_items_expected_max() == 0; }

std::vector<const CLI::App*> commands_of(const CLI::App& program) {
  return program.get_subcommands([](const CLI::App*) { return true; });
}
bool is_command(const CLI::App& program, const std::string& word) {
  const auto commands = commands_of(program);
  return std::ranges::any_of(commands, [&](auto* command) { return command->get_name() == word; });
}
std::vector<const CLI::Option*> options_of(const CLI::App& app) {
  return app.get_options([&app](const CLI::Option* option) { return option != app.get_help_ptr(); });
}

constexpr auto name_in_list = [](const auto* one) { return one->get_name(); };
// "--ek FILE", with a space that no line ends at.
std::string usage_of(const CLI::Option* option) {
  return option->get_name() + (is_flag(option) ? "" : "\t" + option->get_type_name());
}

// The command line in one line, or in several.
std::string usage(const CLI::App& app) {
  if (app.get_parent() == nullptr) return "COMMAND [OPTION...]\nwarpkem help [COMMAND]";
  std::string text = app.get_name();
  for (const CLI::Option* const option : options_of(app)) {
    if (option->get_required()) text += " " + usage_of(option);
  }
  for (const auto& choice : static_cast<const Command&>(app).choices)
    text += " (" + CLI::detail::join(choice.options, usage_of, "\t| ") + ")";
  return text + " [OPTION...]";
}

constexpr std::pair<int, const char*> exit_statuses[] = {
    {exit_ok, "success"},
    {exit_error, "wrong usage, or input, output or a backend that does not work"},
    {exit_items_failed, "some items failed"}};

// What the help lists, the required ones first.
std::vector<const CLI::Option*> listed_options_of(const CLI::App& app) {
  auto options = options_of(app);
  std::stable_partition(options.begin(), options.end(), [](auto* option) { return option->get_required(); });
  return options;
}
std::string description_of(const CLI::Option* option) {
  return option->get_description() + (option->get_required() ? " (required)" : "");
}

// ---- help ----

// CLI11's own layout does not fit a terminal.
class Help : public CLI::FormatterBase {
 public:
  std::string make_help(const CLI::App* app, std::string, CLI::AppFormatMode) const override {
    const std::size_t width = text_width(STDOUT_FILENO);
    const auto commands = commands_of(*app);
    const std::size_t column = commands.empty() ? 24 : 16;
    std::string text = wrapped("Usage: warpkem\t" + usage(*app), width, 7, 0) + "\n\n" +
                       wrapped(app->get_description() + ".", width, 0, 0) + "\n";
    if (!commands.empty()) text += "\nCommands:\n";
    for (const CLI::App* const command : commands)
      text += entry(command->get_name(), command->get_description(), width, column);
    text += "\nOptions:\n";
    for (const CLI::Option* const option : listed_options_of(*app)) {
      std::string term = usage_of(option);
      std::ranges::replace(term, '\t', ' ');
      text += entry(term, description_of(option), width, column);
    }
    text += entry("-h, --help", app->get_help_ptr()->get_description(), width, column);
    for (const auto& [paragraph, rows] : static_cast<const Command*>(app)->notes) {
      text += "\n" + wrapped(paragraph, width, 0, 0) + "\n";
      for (const auto& [term, description] : rows) text += entry(term, description, width, 6);
    }
    std::string exits;
    for (const auto& [status, meaning] : exit_statuses)
      exits += fmt::format("{} {} {}", exits.empty() ? "Exit status:" : ";", status, meaning);
    return text + "\n" + wrapped(exits + ".", width, 0, 0) + "\n";
  }
};

// ---- manual pages ----

// Text for troff: its own signs are escaped, '\t' is a space that no line ends at, '\n' ends a line.
std::string roff(std::string_view text) {
  std::string escaped;
  bool begins = true;  // a line: there, a dot and an apostrophe are requests
  for (const char c : text) {
    if (begins && (c == '.' || c == '\'')) escaped += "\\&";
    switch (c) {
      case '\\':
        escaped += "\\e";
        break;
      case '-':
        escaped += "\\-";
        break;
      case '\'':
        escaped += "\\(aq";
        break;
      case '~':
        escaped += "\\(ti";
        break;
      case '^':
        escaped += "\\(ha";
        break;
      case '\t':
        escaped += "\\ ";
        break;
      case '\n':
        escaped += "\n.br\n";
        break;
      default:
        escaped += c;
    }
    begins = c == '\n';
  }
  return escaped;
}

std::string roff_entry(const std::string& term, const std::string& description) {
  return ".TP\n" + term + "\n" + roff(description) + "\n";
}

std::string roff_option(const CLI::Option* option) {
  return "\\fB" + roff(option->get_name()) + "\\fR" +
         (is_flag(option) ? "" : " \\fI" + roff(option->get_type_name()) + "\\fR");
}

// The page of a command, or of the program, from what its help is made of.
std::string manual_page(const Command& command) {
  const bool whole = command.get_parent() == nullptr;
  const std::string name = whole ? "warpkem" : "warpkem-" + command.get_name();
  std::string title = name;
  std::ranges::transform(title, title.begin(),
                         [](char c) { return static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c); });
  std::string text = fmt::format(".TH {} 1 \"\" \"WarpKEM {}\" \"User Commands\"\n.ad l\n.nh\n.SH NAME\n{} \\- {}\n",
                                 roff(title), warpkem_version(), roff(name), roff(command.get_description()));
  text += ".SH SYNOPSIS\n" + roff("warpkem\t" + usage(command)) + "\n";
  if (whole) text += ".SH COMMANDS\nEach but help has a page of its own, " + roff("warpkem-COMMAND") + "(1).\n";
  for (const CLI::App* const one : commands_of(command))
    text += roff_entry("\\fB" + roff(one->get_name()) + "\\fR", one->get_description() + ".");
  text += ".SH OPTIONS\n";
  for (const CLI::Option* const option : listed_options_of(command))
    text += roff_entry(roff_option(option), description_of(option) + ".");
  text += roff_entry("\\fB\\-h\\fR, \\fB\\-\\-help\\fR", command.get_help_ptr()->get_description() + ".");
  text += ".SH NOTES\n";
  for (const auto& [paragraph, rows] : command.notes) {
    text += ".PP\n" + roff(paragraph) + "\n";
    for (const auto& [term, description] : rows) text += roff_entry(roff(term), description);
  }
  if (command.notes.empty()) text.resize(text.size() - std::string_view(".SH NOTES\n").size());
  text += ".SH EXIT STATUS\n";
  for (const auto& [status, meaning] : exit_statuses)
    text += roff_entry(std::to_string(status), meaning + std::string("."));
  if (whole) {
    text +=
        ".SH EXAMPLES\nA million key pairs, a secret for each, and the secrets again:\n.PP\n.EX\n"
        "warpkem keygen \\-\\-param X\\-Wing \\-\\-count 1000000 \\-\\-ek ek.bin \\-\\-dk dk.bin\n"
        "warpkem encaps \\-\\-param X\\-Wing \\-\\-ek ek.bin \\-\\-ciphertext c.bin \\-\\-shared\\-secret K.bin\n"
        "warpkem decaps \\-\\-param X\\-Wing \\-\\-dk dk.bin \\-\\-ciphertext c.bin \\-\\-shared\\-secret K2.bin\n"
        ".EE\n";
  }
  text += ".SH SEE ALSO\n";
  if (!whole) return text + "\\fBwarpkem\\fR(1)\n";
  std::string pages;
  for (const CLI::App* const one : commands_of(command)) {
    if (one->get_name() == "help") continue;
    pages += (pages.empty() ? "" : ",\n") + ("\\fBwarpkem\\-" + roff(one->get_name())) + "\\fR(1)";
  }
  return text + pages + "\n";
}

// ---- what is wrong ----

std::vector<const CLI::App*> owners_of(const std::string& option, const CLI::App& program) {
  auto owners = commands_of(program);
  std::erase_if(owners, [&](auto* command) { return command->get_option_no_throw(option) == nullptr; });
  return owners;
}

// Options that the command, or without one any of them, does not have, with what may have been meant.
std::string unknown_options(const std::vector<std::string>& words, const CLI::App* command, const CLI::App& program) {
  std::vector<std::string> own;
  for (const CLI::App* const one : commands_of(program)) {
    if (command != nullptr && one != command) continue;
    for (const CLI::Option* const option : options_of(*one)) own.push_back(option->get_name());
  }
  const auto text_of = [&](const std::string& word) {
    const std::string name = option_name(word);
    std::string text = fmt::format("unknown option '{}'", name);
    std::string meant;
    for (const auto& [other, ours] : synonyms) {
      if (name == other && std::ranges::find(own, ours) != own.end()) meant = ours;
    }
    if (meant.empty()) meant = nearest(name, own);
    if (!meant.empty()) return text + " (did you mean " + meant + "?)";
    const auto owners = owners_of(name, program);
    if (owners.empty()) return text;
    return fmt::format("{}, which {} {}", text, CLI::detail::join(owners, name_in_list, ", "),
                       owners.size() == 1 ? "has" : "have");
  };
  return CLI::detail::join(words, text_of, "; ");
}

std::string no_command(const std::string& word, const CLI::App& program) {
  std::vector<std::string> names;
  for (const CLI::App* const command : commands_of(program)) names.push_back(command->get_name());
  const std::string accepted = CLI::detail::join(names, ", ");
  if (word.empty()) return "a command is needed: " + accepted;
  const std::string meant = nearest(word, names);
  return fmt::format("'{}' is no command{}; accepted: {}", word,
                     meant.empty() ? "" : fmt::format(" (did you mean {}?)", meant), accepted);
}

// What is required and not there, all of it, or what excludes each other; "" if nothing is wrong.
std::string missing(const Command& command) {
  std::vector<std::string> all;
  for (const CLI::Option* const option : options_of(command)) {
    if (option->get_required() && option->count() == 0) all.push_back(usage_of(option));
  }
  for (const auto& [options, several] : command.choices) {
    auto given = options;
    std::erase_if(given, [](auto* option) { return option->count() == 0; });
    if (given.size() > 1 && !several)
      return CLI::detail::join(given, name_in_list, " and ") + " exclude each other; give one";
    if (given.empty()) all.push_back("(" + CLI::detail::join(options, usage_of, " or ") + ")");
  }
  if (all.empty()) return "";
  std::string text = "missing: " + CLI::detail::join(all, ", ");
  std::ranges::replace(text, '\t', ' ');
  return text;
}

// CLI11 stops at the first fault in an order of its own. What is told first here explains the rest best: options that
// nobody knows, then a wrong value, words that belong to nothing, and what is missing.
std::string fault(const CLI::ParseError& error, const std::vector<std::string>& words, const CLI::App& program,
                  const Command* command) {
  std::vector<std::string> unknown, stray;
  for (const std::string& word : program.remaining(true)) {
    const auto owners = owners_of(option_name(word), program);
    const bool known = command == nullptr ? !owners.empty() : std::ranges::find(owners, command) != owners.end();
    if (word != "--") (is_option(word) && !known ? unknown : stray).push_back(word);
  }
  if (command == nullptr) {
    if (!unknown.empty()) return unknown_options(unknown, command, program) + "; " + no_command("", program);
    return no_command(words.empty() || is_option(words[0]) ? "" : words[0], program);
  }
  if (!unknown.empty()) return unknown_options(unknown, command, program);
  if (error.get_name() == "ArgumentMismatch") {
    const CLI::Option* const last = command->get_option(words.back());
    return last->get_name() + " needs a value, " + last->get_type_name();
  }
  if (error.get_name() == "ValidationError") return error.what();
  if (!stray.empty()) return fmt::format("'{}' belongs to no option", CLI::detail::join(stray, "', '"));
  return error.get_name() == "RequiredError" ? missing(*command) : error.what();
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
  const auto refuse = [name](const std::string& why) -> bool { throw CLI::ValidationError(name + why); };
  const auto take = [=, words = &words_](const CLI::results_t& values) {
    const std::string& text = values.front();
    if (values.size() > 1) return refuse(" is given more than once");
    // CLI11 takes whatever comes next.
    const std::string whole = name + "=" + text;
    if (text.starts_with("--") && std::ranges::find(*words, whole) == words->end())
      return refuse(
          fmt::format(" needs a value, {}, and '{}' looks like an option; if it is meant: {}", type, text, whole));
    const std::string accepted = parse(text);
    return accepted.empty() || refuse(fmt::format(": '{}' is not accepted; {} is", text, accepted));
  };
  command_.add_option(name, take, description)
      ->type_name(type)
      ->required(need == Need::required)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
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
  const auto alone = [](const std::string& text) { return std::string(text == "true" ? "" : "takes no value"); };
  command_.add_flag(name, value, description)->check(alone);
}

void Arguments::choice(std::initializer_list<const char*> names, bool several) {
  command_.choices.push_back({{}, several});
  for (const char* const name : names) command_.choices.back().options.push_back(command_.get_option(name));
}

void Arguments::note(const std::string& text, const std::vector<std::pair<std::string, std::string>>& rows) {
  command_.notes.push_back({text, rows});
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
    for (const std::uint32_t known : {WARPKEM_DK_EXPANDED, WARPKEM_DK_SEED, WARPKEM_DK_COMPOSITE}) {
      if (text != name_of_dk_format(known)) continue;
      format = known;
      return std::string();
    }
    return std::string("expanded, seed or composite");
  };
  text(
      "--dk-format", "FORM",
      "Form of the dk: expanded, seed, or composite (draft-ietf-lamps-pq-composite-kem; MLKEM768-X25519, MLKEM768-P256 "
      "and MLKEM1024-P384). Default: expanded, and seed for those three, which have no expanded form",
      parse);
}

// ---- the program ----

Program::Program()
    : app_(std::make_unique<Command>(
          "Batch ML-KEM (FIPS 203): raw concatenated records in, raw concatenated records out", "warpkem", nullptr)) {
  app_->set_help_flag("-h,--help", "Print this help; of a command where one is named");
  app_->set_version_flag("--version", fmt::format("warpkem {}", warpkem_version()), "Print the version");
  app_->formatter(std::make_shared<Help>());
  app_->require_subcommand(1);
  app_->notes = {
      {"'warpkem help COMMAND' lists the options of a command; they may stand before and after it, as --name VALUE "
       "or --name=VALUE.",
       {}},
      {"FILE is a file, a pipe or a device; '-' is standard input or output. 'warpkem info' lists the sizes of "
       "records, the backends, and what the numbers of statuses mean.",
       {}},
      {"Environment: WARPKEM_BACKEND names the backend where --backend does not; WARPKEM_CUDA_GRAPHS=0 keeps the "
       "CUDA backend from using CUDA graphs.",
       {}}};
}

Program::~Program() = default;

Arguments Program::add(const std::string& name, const std::string& description, std::function<int()> run) {
  const auto added = std::make_shared<Command>(description, name, app_.get());
  added->set_help_flag("-h,--help", "Print this help");
  added->callback([this, command = added.get(), run = std::move(run)] {
    if (const std::string text = missing(*command); !text.empty()) throw CLI::RequiredError(text);
    status_ = run();
  });
  app_->add_subcommand(added);
  return Arguments(*added, words_);
}

// CLI11 wants the command first, where options may stand here, and no fault before a call for help. Of "--name=" it
// would take the next word for the value.
void Program::arrange() {
  const auto takes_value = [this](const std::string& word) {
    const auto owners = owners_of(word, *app_);
    return std::ranges::any_of(owners, [&](auto* one) { return !is_flag(one->get_option(word)); });
  };
  for (std::size_t i = 0; i < words_.size(); ++i) {
    const std::string name = option_name(words_[i]);
    if (name.size() + 1 != words_[i].size() || !takes_value(name)) continue;
    words_[i] = name;
    words_.insert(words_.begin() + static_cast<std::ptrdiff_t>(i + 1), "");
  }
  auto command = words_.begin();
  while (command != words_.end() && is_option(*command))
    command += std::min<std::ptrdiff_t>(takes_value(*command) ? 2 : 1, words_.end() - command);
  if (command != words_.end()) {
    if (!is_command(*app_, *command)) words_.erase(command + 1, words_.end());
    std::rotate(words_.begin(), command, command + 1);
  }

  const bool help = !words_.empty() && words_[0] == "help";
  if (help) words_.erase(words_.begin());
  if (std::erase_if(words_, is_help) > 0 || help) {
    words_.resize(std::min<std::size_t>(words_.size(), 1));
    if (words_.empty() || words_[0] == "help" || is_option(words_[0])) {
      words_ = {"--help"};
    } else if (is_command(*app_, words_[0])) {
      words_.emplace_back("--help");
    }
  } else if (std::ranges::find(words_, "--version") != words_.end()) {
    words_ = {"--version"};
  }
}

namespace {

// What an option takes where that is one of a few words; "" if it is not.
std::string words_of(const std::string& option) {
  if (option == "--param") {
    std::string names = accepted_algorithms();
    std::erase(names, ',');
    return names;
  }
  for (const auto& [name, words] : {std::pair<const char*, const char*>{"--dk-format", "expanded seed composite"},
                                    {"--format", "raw pem der"},
                                    {"--private-form", "seed expanded both"},
                                    {"--backend", "auto cuda avx512 avx2 portable"},
                                    {"--shell", "bash zsh fish"}}) {
    if (option == name) return words;
  }
  return "";
}
bool is_file(const CLI::Option* option) { return option->get_type_name() == "FILE"; }

// Within single quotes of fish.
std::string quoted(std::string text) {
  for (std::size_t at = 0; (at = text.find_first_of("\\'", at)) != std::string::npos; at += 2) text.insert(at, 1, '\\');
  return "'" + text + "'";
}

std::string bash_completion(const std::vector<const CLI::App*>& commands) {
  const std::string names = CLI::detail::join(commands, name_in_list, " ");
  std::string files, values, plain, of_commands;
  std::vector<std::string> seen;
  for (const CLI::App* const command : commands) {
    std::string own;
    for (const CLI::Option* const option : options_of(*command)) {
      const std::string name = option->get_name();
      if (!is_option(name)) continue;
      own += " " + name;
      if (is_flag(option) || std::ranges::find(seen, name) != seen.end()) continue;
      seen.push_back(name);
      if (const std::string words = words_of(name); !words.empty()) {
        values += fmt::format("    {}) COMPREPLY=($(compgen -W '{}' -- \"$word\")); return ;;\n", name, words);
      } else {
        (is_file(option) ? files : plain) += (is_file(option) ? files : plain).empty() ? name : "|" + name;
      }
    }
    if (command->get_name() == "help") continue;
    of_commands +=
        fmt::format("    {}) options='{} --help' ;;\n", command->get_name(), own.substr(own.empty() ? 0 : 1));
  }
  return fmt::format(
      "_warpkem() {{\n"
      "  local word=\"${{COMP_WORDS[COMP_CWORD]}}\" before=\"${{COMP_WORDS[COMP_CWORD-1]}}\" command='' options='' i\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; ++i)); do\n"
      "    case \" {} \" in *\" ${{COMP_WORDS[i]}} \"*) command=\"${{COMP_WORDS[i]}}\"; break ;; esac\n"
      "  done\n"
      "  case \"$before\" in\n"
      "    {}) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n"
      "{}    {}) return ;;\n"
      "  esac\n"
      "  case \"$command\" in\n"
      "    '') options='{} --help --version' ;;\n"
      "    help) options='{}' ;;\n"
      "{}  esac\n"
      "  COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
      "}}\n"
      "complete -F _warpkem warpkem\n",
      names, files, values, plain, names, names, of_commands);
}

std::string fish_completion(const std::vector<const CLI::App*>& commands) {
  const std::string names = CLI::detail::join(commands, name_in_list, " ");
  std::string text = "complete -c warpkem -f\n";
  for (const CLI::App* const command : commands) {
    const std::string name = command->get_name();
    text += fmt::format("complete -c warpkem -n 'not __fish_seen_subcommand_from {}' -a {} -d {}\n", names, name,
                        quoted(command->get_description()));
    if (name == "help") {
      text += fmt::format("complete -c warpkem -n '__fish_seen_subcommand_from help' -a '{}'\n", names);
    }
    for (const CLI::Option* const option : options_of(*command)) {
      if (!is_option(option->get_name())) continue;
      const std::string words = words_of(option->get_name());
      text += fmt::format("complete -c warpkem -n '__fish_seen_subcommand_from {}' -l {}{}{} -d {}\n", name,
                          option->get_name().substr(2),
                          is_flag(option)   ? ""
                          : is_file(option) ? " -r -F"
                                            : " -x",
                          words.empty() ? "" : " -a '" + words + "'", quoted(option->get_description()));
    }
  }
  return text;
}

}  // namespace

std::string Program::completion(const std::string& shell) const {
  auto commands = commands_of(*app_);
  if (shell == "fish") return fish_completion(commands);
  // zsh loads bash's script through bashcompinit.
  return (shell == "zsh" ? "autoload -Uz bashcompinit && bashcompinit\n" : "") + bash_completion(commands);
}

std::vector<std::pair<std::string, std::string>> Program::manual() const {
  std::vector<std::pair<std::string, std::string>> pages{{"warpkem.1", manual_page(*app_)}};
  for (const CLI::App* const command : commands_of(*app_)) {
    if (command->get_name() == "help") continue;
    pages.emplace_back("warpkem-" + command->get_name() + ".1", manual_page(static_cast<const Command&>(*command)));
  }
  return pages;
}

int Program::run(int argc, char** argv) {
  add("help", "Say what a command does and which options it has", {});
  words_.assign(argv + std::min(argc, 1), argv + argc);
  arrange();
  try {
    app_->parse(std::vector(words_.rbegin(), words_.rend()));  // it takes them from the back
    return status_;
  } catch (const CLI::CallForHelp&) {
    write_stdout(app_->help());
    return exit_ok;
  } catch (const CLI::CallForVersion& version) {
    write_stdout(version.what() + std::string("\n"));
    return exit_ok;
  } catch (const CLI::ParseError& error) {
    const auto chosen = app_->get_subcommands();
    const auto* const command = chosen.empty() ? nullptr : static_cast<const Command*>(chosen.front());
    const std::string who = command == nullptr ? "warpkem" : "warpkem " + command->get_name();
    write_stderr({who, ": ", fault(error, words_, *app_, command), "\nSee '", who, " --help' for what is accepted.\n"});
    return exit_error;
  }
}

}  // namespace warpkem::tool
