#include "host/core/cpu_quota.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string_view>

namespace warpkem::host {

namespace {

// The first bytes of a small file, as many as say what is looked for; empty if there is none.
std::string read_file(const std::string& path) {
  constexpr std::size_t most = std::size_t{16} * 1024;
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  std::string text(most, '\0');
  std::size_t size = 0;
  for (ssize_t got; size < most && (got = read(file, text.data() + size, most - size)) > 0;) {
    size += static_cast<std::size_t>(got);
  }
  close(file);
  text.resize(size);
  return text;
}

// Cuts the part before `separator` off the front of `text`.
std::string_view next_part(std::string_view& text, char separator) {
  const std::size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

// A whole positive number at the front; 0 for anything else, as "max" and -1.
std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = end == text.data() + text.size() || *end == '\n' || *end == ' ';
  return error == std::errc{} && whole ? value : 0;
}

class Fewest {
 public:
  // A quota of microseconds in each period.
  void add(std::uint64_t quota, std::uint64_t period) noexcept {
    if (quota == 0 || period == 0) return;
    const std::uint64_t cores = quota / period + (quota % period != 0 ? 1 : 0);
    if (cores_ == 0 || cores < cores_) cores_ = cores;
  }
  unsigned cores() const noexcept {
    constexpr std::uint64_t most = 1u << 20;
    return static_cast<unsigned>(std::min(cores_, most));
  }

 private:
  std::uint64_t cores_ = 0;
};

// Calls read(folder) for a group and all above it, up to where the hierarchy is mounted. In a container the path may be
// the host's, of which only the end of the way is there.
template <class Read>
void for_each_above(const std::string& mount, std::string_view group, Read read) {
  for (std::string path(group);; path.resize(path.rfind('/'))) {
    while (!path.empty() && path.back() == '/') path.pop_back();
    read(mount + path);
    if (path.find('/') == std::string::npos) return;
  }
}

bool lists_cpu(std::string_view controllers) {
  while (!controllers.empty()) {
    if (next_part(controllers, ',') == "cpu") return true;
  }
  return false;
}

}  // namespace

unsigned cores_by_quota(const std::string& root) {
  Fewest fewest;
  const std::string groups = read_file(root + "/proc/self/cgroup");
  for (std::string_view rest = groups; !rest.empty();) {
    // number:controllers:path; the second version has no controllers.
    std::string_view group = next_part(rest, '\n');
    next_part(group, ':');
    const std::string_view controllers = next_part(group, ':');
    const std::string base = root + "/sys/fs/cgroup";
    if (controllers.empty()) {
      for_each_above(base, group, [&](const std::string& folder) {
        const std::string text = read_file(folder + "/cpu.max");
        std::string_view line = text;
        const std::uint64_t quota = number(next_part(line, ' '));
        fewest.add(quota, number(line));
      });
    } else if (lists_cpu(controllers)) {
      for (const std::string& name : {std::string(controllers), std::string("cpu")}) {
        for_each_above(base + "/" + name, group, [&](const std::string& folder) {
          fewest.add(number(read_file(folder + "/cpu.cfs_quota_us")), number(read_file(folder + "/cpu.cfs_period_us")));
        });
      }
    }
  }
  return fewest.cores();
}

}  // namespace warpkem::host
