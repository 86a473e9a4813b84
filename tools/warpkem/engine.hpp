// The library's engine as an object, and its failures as exceptions.
#pragma once

#include <warpkem/warpkem.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace warpkem::tool {

// An engine's backends, best first. The texts live as long as the engine.
std::vector<warpkem_backend_info> backends_of(warpkem_engine* engine);

class Engine {
 public:
  // `backend` empty: the best there is. Throws Error.
  explicit Engine(const std::string& backend = "", std::uint32_t threads = WARPKEM_THREADS_AUTO,
                  std::uint32_t flags = 0, const std::string& cuda_devices = "", std::size_t pairwise_every = 0);
  ~Engine() { warpkem_engine_free(engine_); }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  warpkem_engine* get() const noexcept { return engine_; }
  std::vector<warpkem_backend_info> backends() const { return backends_of(engine_); }

 private:
  warpkem_engine* engine_ = nullptr;
};

// Who asked for a backend, --backend or else WARPKEM_BACKEND, and for which; "" if nobody did.
std::string backend_wish(const std::string& option);
// What --backend accepts on this machine. Only on the way to an error: forgets WARPKEM_BACKEND.
std::vector<std::string> usable_backends();

// Of an algorithm that there is.
warpkem_algorithm_info describe(warpkem_algorithm algorithm);
bool is_hybrid(warpkem_algorithm algorithm);

// Stands for the algorithm's own: expanded, or seed where there is no expanded form.
inline constexpr std::uint32_t dk_format_by_default = 0xffffffff;
// The format that is meant; Throws Error if the algorithm does not have it.
std::uint32_t dk_format_of(warpkem_algorithm algorithm, std::uint32_t given);
const char* name_of_dk_format(std::uint32_t format);
// Bytes of a dk in that format, 0 if there is none, and of the seeds that make one.
std::size_t dk_bytes(warpkem_algorithm algorithm, std::uint32_t format);
std::size_t seed_bytes(warpkem_algorithm algorithm, std::uint32_t dk_format);

// What a status says of an item or a call, in words; "" for numbers that have no name.
std::string meaning_of(warpkem_status status);

// Throws Error with the library's text unless the whole call went well; bad items are no failure of the call.
void check(warpkem_status status);

}  // namespace warpkem::tool
