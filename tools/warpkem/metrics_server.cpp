#include "tools/warpkem/metrics_server.hpp"

#include <civetweb.h>
#include <fmt/format.h>
#include <warpkem/async.h>

#include <exception>
#include <string>
#include <string_view>

#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/io.hpp"

namespace warpkem::tool {

MetricsServer::MetricsServer(int port) {
  const std::string address = fmt::format("127.0.0.1:{}", port);
  // Two threads: a client that stalls holds up one of them until its time is over.
  const char* options[] = {"listening_ports",    address.c_str(), "num_threads", "2",
                           "request_timeout_ms", "5000",          nullptr};
  const mg_callbacks callbacks{};
  mg_init_library(0);
  server_ = mg_start(&callbacks, nullptr, options);
  mg_server_port bound{};
  if (server_ == nullptr || mg_get_server_ports(server_, 1, &bound) != 1) {
    if (server_ != nullptr) mg_stop(server_);
    mg_exit_library();
    throw Error(
        fmt::format("--metrics-port {}: {} cannot be served; it may be taken (0 finds a free port)", port, address));
  }
  port_ = bound.port;
  mg_set_request_handler(server_, "/metrics", answer, this);
}

MetricsServer::~MetricsServer() {
  mg_stop(server_);
  mg_exit_library();
}

void MetricsServer::show(warpkem_engine* engine) {
  const std::scoped_lock lock(mutex_);
  engine_ = engine;
}

std::string MetricsServer::text() const {
  const std::scoped_lock lock(mutex_);
  std::string text;
  if (engine_ == nullptr) return text;
  // The text grows between the calls where a backend is used for the first time.
  for (std::size_t needed = 4096; text.size() < needed;) {
    text.resize(needed);
    const warpkem_status status = warpkem_metrics_text(engine_, text.data(), text.size(), &needed);
    if (needed <= text.size()) check(status);
  }
  text.resize(text.find('\0'));
  return text;
}

int MetricsServer::answer(mg_connection* connection, void* self) noexcept {
  const std::string_view method = mg_get_request_info(connection)->request_method;
  if (method != "GET" && method != "HEAD") {
    mg_send_http_error(connection, 405, "%s", "GET and HEAD are served");
    return 405;
  }
  try {
    const std::string text = static_cast<const MetricsServer*>(self)->text();
    mg_send_http_ok(connection, "text/plain; version=0.0.4; charset=utf-8", static_cast<long long>(text.size()));
    if (method == "GET") mg_write(connection, text.data(), text.size());
    return 200;
  } catch (const std::exception& error) {
    mg_send_http_error(connection, 503, "%s", error.what());
    return 503;
  }
}

}  // namespace warpkem::tool
