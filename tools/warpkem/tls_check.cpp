// warpkem tls-check: whether this process's OpenSSL would do post-quantum TLS, by whose code, and whether a server
// does.
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <strings.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/error.hpp"
#include "tools/warpkem/io.hpp"
#include "tools/warpkem/tls/configuration.hpp"
#include "tools/warpkem/tls/handshake.hpp"

namespace warpkem::tool {
namespace {

using Json = nlohmann::ordered_json;

struct TlsCheckOptions {
  std::string host, port;
  std::string expected;
  std::uint32_t seconds = 10;
  bool json = false;
};

// Groups that hold against a quantum computer: name in TLS, OpenSSL's algorithm, IANA's number. Hybrids come first.
struct TlsGroup {
  const char *name, *algorithm;
  std::uint32_t id;
};
const std::vector<TlsGroup>& post_quantum() {
  static const std::vector<TlsGroup> groups = [] {
    std::vector<TlsGroup> hybrids, others;
    for (warpkem_algorithm id = 1; warpkem_algorithm_name(id) != nullptr; ++id) {
      const warpkem_algorithm_info info = describe(id);
      if (info.tls_group == nullptr) continue;
      (info.curve != nullptr ? hybrids : others).push_back({info.tls_group, info.name, info.tls_number});
    }
    hybrids.insert(hybrids.end(), others.begin(), others.end());
    return hybrids;
  }();
  return groups;
}

using Context = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

Context new_context() {
  Context context(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
  if (!context) throw Error("OpenSSL makes no SSL_CTX: " + tls::take_error());
  return context;
}

bool serves(const std::string& group) {
  const Context context = new_context();
  const bool does = SSL_CTX_set1_groups_list(context.get(), group.c_str()) == 1;
  ERR_clear_error();
  return does;
}

// Whose code is used for the algorithm: of the key, which decides about the rest.
std::string provider_of(const char* algorithm) {
  EVP_KEYMGMT* const fetched = EVP_KEYMGMT_fetch(nullptr, algorithm, nullptr);
  ERR_clear_error();
  if (fetched == nullptr) return "";
  const std::string name = OSSL_PROVIDER_get0_name(EVP_KEYMGMT_get0_provider(fetched));
  EVP_KEYMGMT_free(fetched);
  return name;
}

// The plain name in an element of OpenSSL 3.5's syntax; "" of DEFAULT. '?' says that an unknown name does not matter.
std::string plain(std::string element, bool& may_be_unknown) {
  may_be_unknown = false;
  while (!element.empty() && (element[0] == '?' || element[0] == '*' || element[0] == '-')) {
    may_be_unknown = may_be_unknown || element[0] != '*';
    element.erase(0, 1);
  }
  return element == "DEFAULT" ? "" : element;
}

const TlsGroup* find_group(const std::string& name, std::uint32_t id) {
  for (const TlsGroup& group : post_quantum()) {
    if (strcasecmp(name.c_str(), group.name) == 0 || (id != 0 && id == group.id)) return &group;
  }
  return nullptr;
}

Json check(const TlsCheckOptions& options) {
  Json report = {{"good", true}, {"openssl", OpenSSL_version(OPENSSL_VERSION)}};
  Json problems = Json::array();
  const Context context = new_context();  // OpenSSL reads its configuration
  const tls::Configuration configuration = tls::read_configuration();
  report["configuration"] = configuration.path;
  if (!configuration.is_readable) problems.push_back("the configuration file cannot be read: " + configuration.path);
  report["providers"] = Json::array();
  for (const auto& one : configuration.providers) {
    report["providers"].push_back({{"name", one.name}, {"active", one.is_active}, {"reason", one.why_not}});
    if (!one.is_active) problems.push_back("provider " + one.name + " is not active: " + one.why_not);
  }
  report["groups"] = Json::array();
  bool any = false;
  for (const TlsGroup& group : post_quantum()) {
    const bool is_served = serves(group.name);
    any = any || is_served;
    report["groups"].push_back({{"name", group.name},
                                {"id", group.id},
                                {"served", is_served},
                                {"provider", is_served ? provider_of(group.algorithm) : ""}});
  }
  if (!any) problems.push_back("no provider serves a post-quantum group");
  report["configured_groups"] = Json::array();
  std::set<const TlsGroup*> named;
  for (const std::string& element : configuration.groups) {
    bool may_be_unknown = false;
    const std::string name = plain(element, may_be_unknown);
    const bool is_served = name.empty() || serves(name);
    report["configured_groups"].push_back({{"name", element}, {"served", is_served}});
    const TlsGroup* const group = find_group(name.empty() ? "X25519MLKEM768" : name, 0);  // DEFAULT has this one
    if (element[0] == '-') {
      named.erase(group);
    } else if (is_served) {
      named.insert(group);
    }
    if (!is_served && !may_be_unknown) {
      problems.push_back("Groups names " + name + ", which nobody serves: OpenSSL drops the whole line without a word");
    }
  }
  named.erase(nullptr);
  if (named.empty() && !configuration.groups.empty())
    problems.push_back("Groups names no post-quantum group that is served");
  if (!options.host.empty()) {
    const tls::Handshake made =
        tls::shake_hands(context.get(), options.host, options.port, static_cast<int>(options.seconds));
    const TlsGroup* const group = find_group(made.group, static_cast<std::uint32_t>(made.group_id));
    report["handshake"] = {{"host", made.host},
                           {"port", made.port},
                           {"protocol", made.protocol},
                           {"group", group != nullptr ? group->name : made.group},
                           {"id", group != nullptr ? static_cast<int>(group->id) : made.group_id},
                           {"post_quantum", group != nullptr},
                           {"error", made.error}};
    if (!made.error.empty()) {
      problems.push_back("the handshake failed: " + made.error);
    } else if (!options.expected.empty()
                   ? strcasecmp(options.expected.c_str(), group != nullptr ? group->name : made.group.c_str()) != 0
                   : group == nullptr) {
      problems.push_back("the handshake's group is " + (made.group.empty() ? "unknown" : made.group) +
                         (options.expected.empty() ? ", which is not post-quantum" : ", not " + options.expected));
    }
  }
  report["good"] = problems.empty();
  report["problems"] = std::move(problems);
  return report;
}

std::string handshake_as_text(const Json& report) {
  std::string text = fmt::format("{}\nconfiguration {}\n", report["openssl"].get<std::string>(),
                                 report["configuration"].get<std::string>());
  for (const Json& one : report["providers"]) {
    text += fmt::format("provider      {:<20} {}\n", one["name"].get<std::string>(),
                        one["active"].get<bool>() ? "active" : "not active");
  }
  for (const Json& one : report["groups"]) {
    text += fmt::format("group         {:<20} {}\n", one["name"].get<std::string>(),
                        one["served"].get<bool>() ? "by " + one["provider"].get<std::string>() : "by nobody");
  }
  if (report["configured_groups"].empty()) {
    text += fmt::format(
        "Groups        OpenSSL's default{}\n",
        OpenSSL_version_num() < 0x30500000 ? ", which has no post-quantum group: programs must name one" : "");
  }
  for (const Json& one : report["configured_groups"]) {
    text += fmt::format("Groups        {:<20} {}\n", one["name"].get<std::string>(),
                        one["served"].get<bool>() ? "served" : "unknown");
  }
  if (report.contains("handshake")) {
    const Json& one = report["handshake"];
    const std::string error = one["error"].get<std::string>();
    text += fmt::format(
        "handshake     {}:{} {}\n", one["host"].get<std::string>(), one["port"].get<std::string>(),
        !error.empty() ? "failed" : one["protocol"].get<std::string>() + " " + one["group"].get<std::string>());
  }
  for (const Json& one : report["problems"]) text += fmt::format("problem: {}\n", one.get<std::string>());
  if (report["good"].get<bool>()) text += "good\n";
  return text;
}

int tls_check(const TlsCheckOptions& options) {
  const Json report = check(options);
  write_stdout(options.json ? report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"
                            : handshake_as_text(report));
  return report["good"].get<bool>() ? exit_ok : exit_items_failed;
}

}  // namespace

void add_tls_check(Program& program) {
  const auto options = std::make_shared<TlsCheckOptions>();
  Arguments arguments =
      program.add("tls-check", "Say who serves post-quantum groups of TLS here, and what a server negotiates",
                  [options] { return tls_check(*options); });
  arguments.text("endpoint", "HOST:PORT", "Make a handshake with this server", [options](const std::string& text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == text.size()) return "HOST:PORT";
    options->host = text.substr(0, colon);
    if (options->host.front() == '[' && options->host.back() == ']') options->host = options->host.substr(1, colon - 2);
    options->port = text.substr(colon + 1);
    return "";
  });
  arguments.text("--group", "GROUP", "The group that the handshake must come to (default: any post-quantum one)",
                 [options](const std::string& text) {
                   options->expected = text;
                   return "";
                 });
  arguments.number("--seconds", options->seconds, 1, 3600, "Wait so long for a server's answers (default 10)");
  arguments.flag("--json", options->json, "As JSON");
  arguments.note("Looks at the OpenSSL configuration of this process: set OPENSSL_CONF as the server has it.");
  arguments.note(
      "Status 2 means here: a provider that openssl.cnf activates is not active; its Groups names what nobody "
      "serves, or nothing post-quantum; nobody serves a post-quantum group; the handshake failed, or came to "
      "another group.");
}

}  // namespace warpkem::tool
