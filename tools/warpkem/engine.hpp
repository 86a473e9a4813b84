// The library's engine as an object, and its failures as exceptions.
#pragma once

#include <warpkem/warpkem.h>

#include <cstdint>
#include <string>
#include <vector>

namespace warpkem::tool {

class Engine {
 public:
  // `backend` empty: the best there is. Throws Error.
  explicit Engine(const std::string& backend = "", std::uint32_t threads = WARPKEM_THREADS_AUTO,
                  std::uint32_t flags = 0, const std::string& cuda_devices = "");
  ~Engine() { warpkem_engine_free(engine_); }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  warpkem_engine* get() const noexcept { return engine_; }
  // Best first. The texts live as long as the engine.
  std::vector<warpkem_backend_info> backends() const;

 private:
  warpkem_engine* engine_ = nullptr;
};

// Throws Error with the library's text unless the whole call went well; bad items are no failure of the call.
void check(warpkem_status status);

}  // namespace warpkem::tool
