// The processors near a device. On a machine with several memory nodes a copy between a device and page-locked memory
// of another node gets as little as half of the link; and memory comes from the node of the thread that asks for it.
#pragma once

#include <sched.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstddef>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

namespace warpkem::cuda {

// "0-23,48-71": Linux's way to write a set of processors. Empty where it is written otherwise.
inline cpu_set_t parse_cpu_list(std::string_view list) noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  const char* at = list.data();
  const char* const end = at + list.size();
  const auto number = [&](std::size_t& value) {
    const auto [after, error] = std::from_chars(at, end, value);
    at = after;
    return error == std::errc{};
  };
  while (at != end && *at != '\n') {
    std::size_t first = 0, last = 0;
    bool good = number(first);
    last = first;
    if (good && at != end && *at == '-') ++at, good = number(last);
    if (good && at != end && *at == ',') {
      ++at;
    } else if (!good || (at != end && *at != '\n')) {
      CPU_ZERO(&set);
      return set;
    }
    for (std::size_t cpu = first; cpu <= last && cpu < CPU_SETSIZE; ++cpu) CPU_SET(cpu, &set);
  }
  return set;
}

// Keeps the calling thread to those of its processors that are near the device with that PCI id; where nobody knows
// which these are, or it may use none of them, it stays as it is. `sysfs`: where that file system is mounted.
inline void move_near(std::string pci_id, const std::string& sysfs) {
  std::ranges::transform(pci_id, pci_id.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::string list;
  if (!std::getline(std::ifstream(sysfs + "/bus/pci/devices/" + pci_id + "/local_cpulist"), list)) return;
  const cpu_set_t near = parse_cpu_list(list);
  cpu_set_t allowed, both;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  CPU_AND(&both, &near, &allowed);
  if (CPU_COUNT(&both) != 0) static_cast<void>(sched_setaffinity(0, sizeof both, &both));
}

}  // namespace warpkem::cuda
