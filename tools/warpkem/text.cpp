#include "tools/warpkem/text.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>

namespace warpkem::tool {
namespace {

constexpr std::size_t least_width = 20, most_width = 120, default_width = 80;

// How many letters must be inserted, left out, replaced or swapped with their neighbour to make one word the other.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last, last(b.size() + 1), current(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    current[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      current[j] = std::min({last[j] + 1, current[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        current[j] = std::min(current[j], before_last[j - 2] + 1);
    }
    before_last = last;
    last = current;
  }
  return last[b.size()];
}

std::string without_dashes(std::string_view word) {
  std::string plain;
  for (const char c : word) {
    if (c != '-' && c != '_') plain += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  }
  return plain;
}

}  // namespace

std::size_t text_width(int fd) {
  winsize size{};
  std::size_t width = 0;
  if (isatty(fd) == 1 && ioctl(fd, TIOCGWINSZ, &size) == 0) width = size.ws_col;
  if (const char* const columns = std::getenv("COLUMNS"); width == 0 && columns != nullptr)
    std::from_chars(columns, columns + std::strlen(columns), width);
  return width == 0 ? default_width : std::clamp(width, least_width, most_width);
}

std::string wrapped(std::string_view text, std::size_t width, std::size_t indent, std::size_t used) {
  std::string result;
  bool at_start = true;  // of what this line gets
  while (!text.empty()) {
    const std::size_t length = std::min(text.find_first_of(" \n"), text.size());
    if (length > 0) {
      if (!at_start && used + 1 + length > width) {
        result += '\n' + std::string(indent, ' ');
        used = indent;
        at_start = true;
      }
      if (!at_start) result += ' ', ++used;
      for (const char c : text.substr(0, length)) result += c == '\t' ? ' ' : c;
      used += length;
      at_start = false;
    }
    if (length < text.size() && text[length] == '\n') {
      result += '\n' + std::string(indent, ' ');
      used = indent;
      at_start = true;
    }
    text.remove_prefix(std::min(length + 1, text.size()));
  }
  return result;
}

std::string entry(std::string_view term, std::string_view description, std::size_t width, std::size_t indent) {
  std::string line = "  " + std::string(term);
  constexpr std::size_t least_column = 24;
  if (width < indent + least_column) {
    indent = 6;
    line += '\n' + std::string(indent, ' ');
  } else if (line.size() + 2 > indent) {
    line += '\n' + std::string(indent, ' ');
  } else {
    line.resize(indent, ' ');
  }
  return line + wrapped(description, width, indent, indent) + '\n';
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string plain = without_dashes(word);
  std::string best;
  std::size_t least = std::max<std::size_t>(1, plain.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const std::string other = without_dashes(candidate);
    std::size_t far = distance(plain, other);
    if (plain.size() >= 3 && (other.find(plain) != std::string::npos || plain.find(other) != std::string::npos))
      far = std::min<std::size_t>(far, 1);
    if (other.size() < 2 || far >= least || far >= other.size()) continue;
    least = far;
    best = candidate;
  }
  return best;
}

std::vector<std::string_view> split(std::string_view list) {
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0; !list.empty() && begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    parts.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

}  // namespace warpkem::tool
