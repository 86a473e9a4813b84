// An engine's metrics over HTTP, for Prometheus to scrape.
#pragma once

#include <warpkem/warpkem.h>

#include <mutex>
#include <string>

struct mg_connection;
struct mg_context;

namespace warpkem::tool {

class MetricsServer {
 public:
  // Serves /metrics on 127.0.0.1, on a free port if `port` is 0. Throws Error if it cannot.
  explicit MetricsServer(int port);
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  int port() const noexcept { return port_; }

  // What to serve from now on: an engine that lives until the next call, or nullptr, nothing.
  void show(warpkem_engine* engine);

 private:
  static int answer(mg_connection* connection, void* self) noexcept;
  std::string text() const;

  mutable std::mutex mutex_;  // of engine_: whoever reads its metrics holds it
  warpkem_engine* engine_ = nullptr;
  mg_context* server_ = nullptr;
  int port_ = 0;
};

}  // namespace warpkem::tool
