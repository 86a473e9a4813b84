#include "host/provider/settings.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

namespace warpkem::provider {

namespace {

constexpr std::uint32_t most_threads = 4096, most_pool_size = 65536, most_pool_seconds = 86400;

template <class Number>
bool read_number(const Core& core, const char* name, std::uint32_t most, Number& number) {
  const char* const text = core.setting(name);
  if (text == nullptr) return true;
  const std::string_view all(text);
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(all.data(), all.data() + all.size(), value);
  if (error != std::errc{} || end != all.data() + all.size() || value > most) {
    core.raise(Reason::wrong_setting, "wrong setting %s = %s: a number up to %u is expected", name, text, most);
    return false;
  }
  number = value;
  return true;
}

void read_text(const Core& core, const char* name, std::string& text) {
  if (const char* const value = core.setting(name)) text = value;
}

}  // namespace

bool read_settings(const Core& core, Settings& settings) {
  read_text(core, "backend", settings.backend);
  read_text(core, "policy", settings.policy);
  read_text(core, "statistics_file", settings.statistics_file);
  if (!read_number(core, "threads", most_threads, settings.threads) ||
      !read_number(core, "pool_size", most_pool_size, settings.pool_size) ||
      !read_number(core, "pool_seconds", most_pool_seconds, settings.pool_seconds)) {
    return false;
  }
  constexpr std::array<std::string_view, 6> backends{"", "auto", "cuda", "avx512", "avx2", "portable"};
  if (std::ranges::find(backends, settings.backend) == backends.end()) {
    core.raise(Reason::wrong_setting, "wrong setting backend = %s: auto, cuda, avx512, avx2 or portable is expected",
               settings.backend.c_str());
    return false;
  }
  std::string private_keys = "seed";
  read_text(core, "private_keys", private_keys);
  if (private_keys == "both") {
    settings.private_keys = WARPKEM_ENCODING_BOTH;
  } else if (private_keys == "expanded") {
    settings.private_keys = WARPKEM_ENCODING_EXPANDED;
  } else if (private_keys != "seed") {
    core.raise(Reason::wrong_setting, "wrong setting private_keys = %s: seed, both or expanded is expected",
               private_keys.c_str());
    return false;
  }
  const char* const policy = settings.policy.empty() ? nullptr : settings.policy.c_str();
  for (std::size_t i = 0; i < num_kems; ++i) {
    const warpkem_status allowed = warpkem_policy_allows(policy, all_kems()[i].id);
    if (allowed == WARPKEM_INVALID_ARGUMENT) {
      core.raise(Reason::wrong_setting, "wrong setting: %s", warpkem_last_error());
      return false;
    }
    settings.allowed.set(i, allowed == WARPKEM_OK);
  }
  return true;
}

}  // namespace warpkem::provider
