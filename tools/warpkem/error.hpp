// What ends the program with status 1.
#pragma once

#include <stdexcept>

namespace warpkem::tool {

// A wrong argument, or input or output that does not work.
class Error : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace warpkem::tool
