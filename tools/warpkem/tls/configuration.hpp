// What openssl.cnf says of providers and groups, for OpenSSL itself passes over what it cannot do, without a word.
#pragma once

#include <string>
#include <vector>

namespace warpkem::tool::tls {

struct ConfiguredProvider {
  std::string name;
  bool is_active = false;
  std::string why_not;  // what OpenSSL says when it is loaded alone
};

struct Configuration {
  std::string path;
  bool is_readable = false;
  std::vector<ConfiguredProvider> providers;  // those that are to be activated
  std::vector<std::string> groups;            // of the system's default for TLS, as they are written
};

// Of this process. Throws std::bad_alloc.
Configuration read_configuration();

// The oldest error of OpenSSL's queue as text, and empties it; "" if there is none.
std::string take_error();

}  // namespace warpkem::tool::tls
