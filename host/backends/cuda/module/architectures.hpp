// What a module has for a device, from the list that it was compiled for: CMAKE_CUDA_ARCHITECTURES with commas.
#pragma once

#include <algorithm>
#include <charconv>
#include <string_view>
#include <system_error>

namespace warpkem::cuda {

enum class Code {
  none,
  ptx,      // the driver compiles it when it is first used, if it is not older than the toolkit
  machine,  // runs as it is
};

// "80-real,90": a `real` entry runs on its own major number from its minor number on; PTX, in entries that are not
// `real`, on everything from its number on.
inline Code code_for(int major, int minor, std::string_view architectures) noexcept {
  Code best = Code::none;
  while (!architectures.empty()) {
    const std::string_view entry = architectures.substr(0, architectures.find(','));
    architectures.remove_prefix(std::min(architectures.size(), entry.size() + 1));
    int number = 0;
    const char* const end = entry.data() + entry.size();
    if (std::from_chars(entry.data(), end, number).ec != std::errc{}) return Code::machine;  // "native", "all"
    const bool machine_code = entry.find("-virtual") == std::string_view::npos;
    const bool ptx = entry.find("-real") == std::string_view::npos;
    if (machine_code && number / 10 == major && number % 10 <= minor) return Code::machine;
    if (ptx && number <= major * 10 + minor) best = Code::ptx;
  }
  return best;
}

}  // namespace warpkem::cuda
