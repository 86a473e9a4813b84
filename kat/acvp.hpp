// Reader of NIST's ACVP cases for ML-KEM in the form of one JSON object per line, gzipped:
// {"set": "ML-KEM-768", "op": "keygen|encaps|decaps|ek_check|dk_check", "in": {...}, "out": {...} or "reject": true,
// "source": "...", "id": "..."}, byte strings in hex.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kat/kem.hpp"

namespace warpkem::kat {

struct AcvpCase {
  warpkem_algorithm algorithm;
  std::string op, id;  // id names the source too
  std::map<std::string, Bytes> in, out;
  bool reject;  // a key check that must fail
};

// Throws std::runtime_error for what cannot be read, with the line.
std::vector<AcvpCase> read_acvp(const std::string& path);

}  // namespace warpkem::kat
