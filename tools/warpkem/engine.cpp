#include "tools/warpkem/engine.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <string_view>

#include "tools/warpkem/error.hpp"

namespace warpkem::tool {

std::string backend_wish(const std::string& option) {
  if (!option.empty() && option != "auto") return "--backend " + option;
  const char* const variable = secure_getenv("WARPKEM_BACKEND");
  if (variable == nullptr || *variable == 0 || std::string_view(variable) == "auto") return "";
  return std::string("WARPKEM_BACKEND=") + variable + " (of the environment)";
}

std::vector<std::string> usable_backends() {
  unsetenv("WARPKEM_BACKEND");  // which may be what is wrong
  const Engine any("auto");
  std::vector<std::string> names{"auto"};
  for (const auto& info : any.backends()) {
    if (info.available != 0) names.emplace_back(info.name);
  }
  return names;
}

namespace {

constexpr const char* dk_format_names[] = {"expanded", "seed", "composite"};

}  // namespace

warpkem_algorithm_info describe(warpkem_algorithm algorithm) {
  warpkem_algorithm_info info{};
  info.struct_size = sizeof info;
  check(warpkem_describe_algorithm(algorithm, &info));
  return info;
}

bool is_hybrid(warpkem_algorithm algorithm) { return describe(algorithm).curve != nullptr; }

const char* name_of_dk_format(std::uint32_t format) { return dk_format_names[format]; }

std::size_t dk_bytes(warpkem_algorithm algorithm, std::uint32_t format) {
  constexpr std::uint32_t sizes[] = {WARPKEM_SIZE_DK, WARPKEM_SIZE_DK_SEED, WARPKEM_SIZE_DK_COMPOSITE};
  return warpkem_size(algorithm, sizes[format]);
}

std::size_t seed_bytes(warpkem_algorithm algorithm, std::uint32_t dk_format) {
  return warpkem_size(algorithm, dk_format == WARPKEM_DK_COMPOSITE ? WARPKEM_SIZE_SEED_COMPOSITE : WARPKEM_SIZE_SEED);
}

std::uint32_t dk_format_of(warpkem_algorithm algorithm, std::uint32_t given) {
  if (given == dk_format_by_default) {
    return dk_bytes(algorithm, WARPKEM_DK_EXPANDED) != 0 ? WARPKEM_DK_EXPANDED : WARPKEM_DK_SEED;
  }
  if (dk_bytes(algorithm, given) != 0) return given;
  throw Error(
      fmt::format("--dk-format {}: {} has no such form", name_of_dk_format(given), warpkem_algorithm_name(algorithm)));
}

std::string meaning_of(warpkem_status status) {
  switch (status) {
    case WARPKEM_OK:
      return "all is well";
    case WARPKEM_INVALID_ARGUMENT:
      return "the call was wrong; nothing was written";
    case WARPKEM_ITEM_FAILED:
      return "at least one item of the call failed";
    case WARPKEM_INVALID_EK:
      return "a coefficient of ek is not below q (FIPS 203, 7.2); of a hybrid also: its curve part is bad";
    case WARPKEM_INVALID_DK:
      return "the hash of ek inside dk is wrong (FIPS 203, 7.3); of a hybrid also: its curve part is bad";
    case WARPKEM_UNSUPPORTED:
      return "unknown algorithm, backend or format, or not in this build";
    case WARPKEM_OUT_OF_MEMORY:
      return "out of memory";
    case WARPKEM_RNG_FAILED:
      return "the random generator failed";
    case WARPKEM_BACKEND_FAILED:
      return "no backend could do it";
    case WARPKEM_INVALID_KEY_INDEX:
      return "the index of a key is beyond the prepared keys";
    case WARPKEM_FORKED:
      return "the engine was inherited through fork";
    case WARPKEM_WOULD_BLOCK:
      return "the engine's queue is full";
    case WARPKEM_CANCELLED:
      return "the request was cancelled";
    case WARPKEM_EXPIRED:
      return "no backend had begun the request by its deadline";
    case WARPKEM_ABORTED:
      return "the engine was shut down first";
    case WARPKEM_WOULD_DEADLOCK:
      return "waiting and freeing are not for callbacks";
    case WARPKEM_INVALID_C:
      return "the curve part of a hybrid's c is no point, or gives a zero secret";
    case WARPKEM_INVALID_RANDOMNESS:
      return "the given randomness holds no scalar of the hybrid's curve";
    case WARPKEM_INVALID_ENCODING:
      return "not the DER of a key, or not PEM";
    case WARPKEM_PAIRWISE_FAILED:
      return "dk does not give the secret that was encapsulated to ek (pairwise consistency test of a new key pair)";
    case WARPKEM_KEY_MISMATCH:
      return "the parts of a private key are not of one pair (RFC 9935, Section 8)";
    case WARPKEM_INVALID_TAG:
      return "the tag is not that of the text, key, nonce and associated data (AES-256-GCM)";
    default:
      return "";
  }
}

void check(warpkem_status status) {
  if (status == WARPKEM_OK || status == WARPKEM_ITEM_FAILED) return;
  throw Error(fmt::format("{}: {}", warpkem_status_name(status), warpkem_last_error()));
}

Engine::Engine(const std::string& backend, std::uint32_t threads, std::uint32_t flags, const std::string& cuda_devices,
               std::size_t pairwise_every) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.backend = backend.empty() ? nullptr : backend.c_str();
  options.threads = threads;
  options.flags = flags;
  options.cuda_devices = cuda_devices.empty() ? nullptr : cuda_devices.c_str();
  options.pairwise_every = pairwise_every;
  const warpkem_status status = warpkem_engine_new(&options, &engine_);
  if (status == WARPKEM_OK) return;
  const std::string text = warpkem_last_error();
  const std::string wish = backend_wish(backend);
  if (status != WARPKEM_UNSUPPORTED || wish.empty()) throw Error("the engine cannot start: " + text);
  throw Error(fmt::format("{}: {}; accepted here: {}", wish, text, fmt::join(usable_backends(), ", ")));
}

std::vector<warpkem_backend_info> backends_of(warpkem_engine* engine) {
  std::vector<warpkem_backend_info> all;
  for (std::size_t i = 0;; ++i) {
    warpkem_backend_info info{};
    info.struct_size = sizeof info;
    if (warpkem_engine_backend(engine, i, &info) != WARPKEM_OK) return all;
    all.push_back(info);
  }
}

}  // namespace warpkem::tool
