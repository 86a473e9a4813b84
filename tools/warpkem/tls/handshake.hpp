// One TLS handshake as this process's OpenSSL makes it, and the group that comes out.
#pragma once

#include <openssl/ssl.h>

#include <string>

namespace warpkem::tool::tls {

struct Handshake {
  std::string host, port;
  std::string protocol, group;
  int group_id = 0;   // IANA's number, 0 of groups that are older than TLS's numbers for them
  std::string error;  // "" if the handshake succeeded
};

// The server's certificate is not verified, for only the group matters. Waits at most `seconds` for each answer.
Handshake shake_hands(SSL_CTX* context, const std::string& host, const std::string& port, int seconds);

}  // namespace warpkem::tool::tls
