// The accumulated test: many instances from one SHAKE128 stream, hashed into one digest. README.md has the procedure.
#pragma once

#include <string>

#include "kat/kem.hpp"

namespace warpkem::kat {

enum class AccumulatedForm { tvecs, go };

// The digest in hex. Throws if any shared secrets differ that should not.
std::string accumulated_digest(const Kem& kem, AccumulatedForm form, std::size_t iterations);

}  // namespace warpkem::kat
