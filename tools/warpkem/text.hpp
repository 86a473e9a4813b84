// Text for people: wrapped to the width of their terminal, and guesses at what they meant.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace warpkem::tool {

// Columns of the terminal behind a descriptor; where there is none, what COLUMNS says; else 80.
std::size_t text_width(int fd);

// `text` in lines of at most `width` columns. The first line continues one that is `used` columns long; the others
// begin with `indent` spaces. Lines end between words: a longer word stands alone on its line. '\n' ends a line, and
// a space that must not is written as '\t'. Ends without a newline.
std::string wrapped(std::string_view text, std::size_t width, std::size_t indent, std::size_t used);

// A term, and beside it, from column `indent` on, its description; below it where that leaves too little room.
std::string entry(std::string_view term, std::string_view description, std::size_t width, std::size_t indent);

// The parts of a list with commas; of an empty list, none.
std::vector<std::string_view> split(std::string_view list);

// The candidate that a misspelt word stands for; "" if none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace warpkem::tool
