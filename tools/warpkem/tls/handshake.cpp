#include "tools/warpkem/tls/handshake.hpp"

#include <netdb.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "tools/warpkem/tls/configuration.hpp"
#include "tools/warpkem/tls/free_by.hpp"

namespace warpkem::tool::tls {

namespace {

class Socket {
 public:
  Socket() = default;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  int fd() const { return fd_; }

  // "" if it is connected, else why not.
  std::string connect_to(const std::string& host, const std::string& port, int seconds) {
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    const int unknown = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
    if (unknown != 0) return gai_strerror(unknown);
    const std::unique_ptr<addrinfo, FreeBy<freeaddrinfo>> addresses(found);
    std::string why = "no address";
    for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
      fd_ = socket(one->ai_family, one->ai_socktype | SOCK_CLOEXEC, one->ai_protocol);
      if (fd_ < 0) continue;
      const timeval limit{seconds, 0};
      setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
      setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
      if (connect(fd_, one->ai_addr, one->ai_addrlen) == 0) return "";
      why = strerror(errno);
      close(fd_);
      fd_ = -1;
    }
    return why;
  }

 private:
  int fd_ = -1;
};

bool is_address(const std::string& host) {
  ASN1_OCTET_STRING* const address = a2i_IPADDRESS(host.c_str());
  ASN1_OCTET_STRING_free(address);
  ERR_clear_error();
  return address != nullptr;
}

}  // namespace

Handshake shake_hands(SSL_CTX* context, const std::string& host, const std::string& port, int seconds) {
  Handshake made{host, port, "", "", 0, ""};
  Socket socket;
  made.error = socket.connect_to(host, port, seconds);
  if (!made.error.empty()) return made;
  const std::unique_ptr<SSL, FreeBy<SSL_free>> connection(SSL_new(context));
  ERR_clear_error();
  if (!connection || SSL_set_fd(connection.get(), socket.fd()) != 1 ||
      (!is_address(host) && SSL_set_tlsext_host_name(connection.get(), host.c_str()) != 1)) {
    made.error = take_error();
    return made;
  }
  errno = 0;
  if (SSL_connect(connection.get()) != 1) {
    made.error = take_error();
    if (made.error.empty()) made.error = errno == 0 ? "the connection was closed" : strerror(errno);
    return made;
  }
  made.protocol = SSL_get_version(connection.get());
  const int group = static_cast<int>(SSL_get_negotiated_group(connection.get()));
  const char* const name = SSL_group_to_name(connection.get(), group);
  made.group = name != nullptr ? name : "";
  if ((group & TLSEXT_nid_unknown) != 0) made.group_id = group & 0xffff;
  SSL_shutdown(connection.get());
  return made;
}

}  // namespace warpkem::tool::tls
