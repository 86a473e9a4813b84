#include "tools/warpkem/tls/configuration.hpp"

#include <openssl/conf.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include "tools/warpkem/tls/free_by.hpp"

namespace warpkem::tool::tls {

namespace {

using Conf = std::unique_ptr<CONF, FreeBy<NCONF_free>>;
using Library = std::unique_ptr<OSSL_LIB_CTX, FreeBy<OSSL_LIB_CTX_free>>;

std::string value_of(const Conf& conf, const char* section, const char* name) {
  ERR_set_mark();
  const char* const value = NCONF_get_string(conf.get(), section, name);
  ERR_pop_to_mark();
  return value != nullptr ? value : "";
}

std::vector<std::pair<std::string, std::string>> section_of(const Conf& conf, const std::string& name) {
  std::vector<std::pair<std::string, std::string>> lines;
  const STACK_OF(CONF_VALUE)* const values = name.empty() ? nullptr : NCONF_get_section(conf.get(), name.c_str());
  for (int i = 0; values != nullptr && i < sk_CONF_VALUE_num(values); ++i) {
    const CONF_VALUE* const line = sk_CONF_VALUE_value(values, i);
    lines.emplace_back(line->name, line->value != nullptr ? line->value : "");
  }
  return lines;
}

std::string without_spaces(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t");
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// "name.1" and the like: what comes before the last dot only tells equal names apart.
std::string_view without_prefix(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? name : name.substr(dot + 1);
}

// Loads a provider by itself, in a library context whose configuration names it and does not activate it: then, and
// only then, the reason of a failure reaches the error queue.
std::string reason_not_to_load(const std::string& name, const std::vector<std::pair<std::string, std::string>>& lines) {
  std::string text = "openssl_conf = all\n[all]\nproviders = providers\n[providers]\n" + name + " = one\n[one]\n";
  for (const auto& [key, value] : lines) {
    if (key != "activate" && key != "soft_load") text += key + " = " + value + "\n";
  }
  const int file = memfd_create("openssl.cnf", MFD_CLOEXEC);
  if (file < 0) return "";
  const bool is_written = write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  std::string reason;
  {
    const Library library(OSSL_LIB_CTX_new());
    ERR_clear_error();
    if (is_written && library && OSSL_LIB_CTX_load_config(library.get(), path.c_str()) == 1) {
      reason = OSSL_PROVIDER_load(library.get(), name.c_str()) != nullptr ? "it loads by itself" : take_error();
    }
  }
  close(file);
  return reason;
}

}  // namespace

std::string take_error() {
  const char* data = nullptr;
  int flags = 0;
  const unsigned long code = ERR_get_error_all(nullptr, nullptr, nullptr, &data, &flags);
  std::string text;
  if (code != 0) {
    const char* const reason = ERR_reason_error_string(code);
    text = reason != nullptr ? reason : "";
    if ((flags & ERR_TXT_STRING) != 0 && data != nullptr && *data != '\0')
      text += (text.empty() ? "" : ": ") + std::string(data);
    if (text.empty()) text = "error " + std::to_string(code);
  }
  ERR_clear_error();
  return text;
}

Configuration read_configuration() {
  Configuration found;
  char* const path = CONF_get1_default_config_file();
  found.path = path != nullptr ? path : "";
  OPENSSL_free(path);
  const Conf conf(NCONF_new(nullptr));
  long line = 0;
  if (!conf || found.path.empty() || NCONF_load(conf.get(), found.path.c_str(), &line) != 1) {
    ERR_clear_error();
    return found;
  }
  found.is_readable = true;
  const std::string all = value_of(conf, nullptr, "openssl_conf");
  if (all.empty()) return found;
  for (const auto& [name, section] : section_of(conf, value_of(conf, all.c_str(), "providers"))) {
    const auto lines = section_of(conf, section);
    bool is_wanted = false;
    for (const auto& [key, value] : lines) is_wanted = is_wanted || key == "activate";
    if (!is_wanted) continue;
    ConfiguredProvider one{name, OSSL_PROVIDER_available(nullptr, name.c_str()) == 1, ""};
    if (!one.is_active) one.why_not = reason_not_to_load(name, lines);
    found.providers.push_back(std::move(one));
  }
  const std::string tls = value_of(conf, all.c_str(), "ssl_conf");
  const std::string defaults = tls.empty() ? "" : value_of(conf, tls.c_str(), "system_default");
  for (const auto& [name, value] : section_of(conf, defaults)) {
    const std::string_view command = without_prefix(name);
    if (command != "Groups" && command != "Curves" && command != "groups" && command != "curves") continue;
    found.groups.clear();  // the last one counts
    for (std::size_t at = 0; at <= value.size();) {
      const std::size_t end = std::min(value.find_first_of(":/", at), value.size());
      const std::string group = without_spaces(value.substr(at, end - at));
      if (!group.empty()) found.groups.push_back(group);
      at = end + 1;
    }
  }
  return found;
}

}  // namespace warpkem::tool::tls
