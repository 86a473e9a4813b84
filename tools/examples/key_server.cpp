// A key server on loopback and its clients, both as event loops of one thread: each client sends a fresh ek, the server
// answers with c, and each side proves to the other that it holds the same K. All connections are open at once.
//
//   key_server [CLIENTS]        10 000 unless given
//
// client: ek (1184) ->   <- c (1088), SHA-256("server" || K)   SHA-256("client" || K) ->   <- 1 byte: agreed
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/sha.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>
#include <warpkem/warpkem.hpp>

namespace {

using P = warpkem::MlKem768;
using Tag = std::array<std::uint8_t, 32>;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what + ": " + strerror(errno)); }

Tag tag(const char* side, const std::uint8_t* K) {
  std::array<std::uint8_t, 6 + P::K_bytes> text;
  memcpy(text.data(), side, 6);
  memcpy(text.data() + 6, K, P::K_bytes);
  Tag out;
  SHA256(text.data(), text.size(), out.data());
  return out;
}

// A socket that expects `in` and sends `out`; whose turn it is, its owner knows.
struct Connection {
  int fd = -1;
  int stage = 0;
  std::vector<std::uint8_t> in, out;
  std::size_t received = 0, sent = 0;
  std::array<std::uint8_t, P::K_bytes> K{};
  std::array<std::uint8_t, P::c_bytes> c{};
  std::vector<std::uint8_t> key;  // ek, or dk

  bool expects = false;

  void expect(std::size_t bytes) { in.assign(bytes, 0), received = 0, expects = true; }
  void say(std::vector<std::uint8_t> bytes) { out = std::move(bytes), sent = 0; }
  // Moves what can be moved. True, once: all that was expected is there.
  bool move() {
    while (sent < out.size()) {
      const ssize_t n = send(fd, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
      if (n < 0 && errno == EAGAIN) break;
      if (n <= 0) fail("send");
      sent += static_cast<std::size_t>(n);
    }
    while (expects && received < in.size()) {
      const ssize_t n = recv(fd, in.data() + received, in.size() - received, 0);
      if (n < 0 && errno == EAGAIN) return false;
      if (n == 0) throw std::runtime_error("the other side hung up");
      if (n < 0) fail("recv");
      received += static_cast<std::size_t>(n);
    }
    return std::exchange(expects, false);
  }
};

class Loop {
 public:
  Loop() : queue_(engine_), epoll_(epoll_create1(EPOLL_CLOEXEC)) { watch(queue_.fd(), &queue_, EPOLLIN); }
  virtual ~Loop() = default;
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

 protected:
  void watch(int fd, void* what, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.ptr = what;
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
  }
  void submit(Connection& connection, warpkem_batch batch) {
    batch.struct_size = sizeof batch;
    batch.algorithm = P::id;
    batch.count = 1;
    batch.K_out = {connection.K.data(), connection.K.size(), 0, nullptr};
    batch.user_data = &connection;
    warpkem::SubmitOptions options;
    options.timeout = std::chrono::seconds(10);  // this loop has nothing better to do than to wait for room
    if (warpkem::submit(engine_, queue_, {&batch, 1}, options) != 1) throw std::runtime_error("the queue stayed full");
  }
  virtual void received(Connection& connection) = 0;
  virtual void computed(Connection& connection) = 0;
  virtual void accept_all() {}

  // One round of events.
  void turn() {
    std::array<epoll_event, 256> events;
    const int n = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 60'000);
    if (n == 0) throw std::runtime_error("nothing happened for a minute");
    for (int i = 0; i < n; ++i) {
      void* const what = events[static_cast<std::size_t>(i)].data.ptr;
      if (what == &queue_) {
        std::array<warpkem_completion, 256> completions;
        const std::size_t done = queue_.poll(completions);
        for (std::size_t k = 0; k < done; ++k) {
          if (completions[k].status != WARPKEM_OK) throw std::runtime_error(warpkem_status_name(completions[k].status));
          computed(*static_cast<Connection*>(completions[k].user_data));
        }
      } else if (what == nullptr) {
        accept_all();
      } else if (Connection& connection = *static_cast<Connection*>(what); connection.move()) {
        received(connection);
      }
    }
  }

  warpkem::Engine engine_;
  warpkem::Queue queue_;
  int epoll_;
};

class Server final : public Loop {
 public:
  Server(int listening, std::size_t clients) : listening_(listening), clients_(clients) {
    watch(listening, nullptr, EPOLLIN);
  }
  void run() {
    while (agreed_ < clients_) turn();
    printf("server: %zu clients agreed, at most %zu connected at once\n", agreed_, most_);
  }

 private:
  void accept_all() override {
    for (int fd; (fd = accept4(listening_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
      Connection& c = *connections_.emplace_back(std::make_unique<Connection>());
      c.fd = fd;
      c.expect(P::ek_bytes);
      watch(fd, &c, EPOLLIN | EPOLLOUT | EPOLLET);
      most_ = std::max(most_, ++open_);
    }
    if (errno != EAGAIN && errno != ECONNABORTED) fail("accept");
  }
  void received(Connection& connection) override {
    if (connection.stage++ == 0) {
      connection.key = std::move(connection.in);
      warpkem_batch batch{};
      batch.operation = WARPKEM_OP_ENCAPS;
      batch.ek = {connection.key.data(), connection.key.size(), 0, nullptr};
      batch.c_out = {connection.c.data(), connection.c.size(), 0, nullptr};
      return submit(connection, batch);
    }
    const Tag expected = tag("client", connection.K.data());
    if (memcmp(connection.in.data(), expected.data(), expected.size()) != 0)
      throw std::runtime_error("a client has another K");
    connection.say({1});
    connection.move();
    ++agreed_;
    --open_;
  }
  void computed(Connection& connection) override {
    std::vector<std::uint8_t> answer(connection.c.begin(), connection.c.end());
    const Tag proof = tag("server", connection.K.data());
    answer.insert(answer.end(), proof.begin(), proof.end());
    connection.say(std::move(answer));
    connection.expect(proof.size());
    if (connection.move()) received(connection);
  }

  int listening_;
  std::size_t clients_, agreed_ = 0, open_ = 0, most_ = 0;
  std::vector<std::unique_ptr<Connection>> connections_;
};

class Clients final : public Loop {
 public:
  Clients(const sockaddr_in& server, std::size_t clients) : connections_(clients) {
    // Fresh keys: these are known together, so one call makes them all.
    const auto made = engine_.keygen<P>(clients);
    const auto& keys = made.value();
    for (std::size_t i = 0; i < clients; ++i) {
      Connection& c = connections_[i];
      c.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (c.fd < 0 || connect(c.fd, reinterpret_cast<const sockaddr*>(&server), sizeof server) != 0) fail("connect");
      c.key.assign(keys.dk[i].begin(), keys.dk[i].end());
      c.say({keys.ek[i].begin(), keys.ek[i].end()});
      c.expect(P::c_bytes + 32);
    }
    // Only now that all are connected does any of them speak.
    for (Connection& c : connections_) {
      if (fcntl(c.fd, F_SETFL, O_NONBLOCK) != 0) fail("fcntl");
      watch(c.fd, &c, EPOLLIN | EPOLLOUT | EPOLLET);
    }
  }
  void run() {
    while (agreed_ < connections_.size()) turn();
    printf("clients: all %zu agreed\n", agreed_);
  }

 private:
  void received(Connection& connection) override {
    if (connection.stage++ == 0) {
      memcpy(connection.c.data(), connection.in.data(), P::c_bytes);
      warpkem_batch batch{};
      batch.operation = WARPKEM_OP_DECAPS;
      batch.dk = {connection.key.data(), connection.key.size(), 0, nullptr};
      batch.c = {connection.c.data(), connection.c.size(), 0, nullptr};
      return submit(connection, batch);
    }
    if (connection.in[0] != 1) throw std::runtime_error("the server does not agree");
    ++agreed_;
  }
  void computed(Connection& connection) override {
    const Tag expected = tag("server", connection.K.data());
    if (memcmp(connection.in.data() + P::c_bytes, expected.data(), 32) != 0)
      throw std::runtime_error("the server has another K");
    const Tag proof = tag("client", connection.K.data());
    connection.say({proof.begin(), proof.end()});
    connection.expect(1);
    if (connection.move()) received(connection);
  }

  std::vector<Connection> connections_;
  std::size_t agreed_ = 0;
};

}  // namespace

int main(int argc, char** argv) try {
  const std::size_t clients = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 10'000;
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_max < clients + 64) {
    printf("skipped: %zu open files are needed and %zu allowed\n", clients + 64,
           static_cast<std::size_t>(files.rlim_max));
    return 77;
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  const int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listening < 0 || bind(listening, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(listening, 4096) != 0 || getsockname(listening, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    fail("listen");
  }
  // Two processes, each with an engine of its own: an engine does not survive a fork.
  const pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    try {
      Clients(address, clients).run();
      fflush(stdout);
      _exit(0);
    } catch (const std::exception& error) {
      fprintf(stderr, "client: %s\n", error.what());
      _exit(1);
    }
  }
  Server(listening, clients).run();
  int status = 0;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) return 1;
  return 0;
} catch (const std::exception& error) {
  fprintf(stderr, "server: %s\n", error.what());
  return 1;
}
