// One instance of a parameter set with all intermediate values, as text: what lies in vectors/.
#pragma once

#include <warpkem/warpkem.h>

#include <map>
#include <string>

namespace warpkem::kat {

// Made from portable's primitives, algorithm by algorithm.
std::string intermediate_text(warpkem_algorithm algorithm);

// The names and values of such a text, polynomials still as text.
std::map<std::string, std::string> parse_intermediate(const std::string& text);

}  // namespace warpkem::kat
