// Reader of NIST's ACVP cases for ML-KEM, in the form in which NIST publishes them or one object per line; see
// README.md.
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

// All cases in a folder: those of cases.jsonl.gz, else those of every internalProjection.json below it. Empty where
// there are none. These throw std::runtime_error for what cannot be read, with its place.
std::vector<AcvpCase> read_acvp(const std::string& folder);

std::vector<AcvpCase> read_acvp_lines(const std::string& path);
std::vector<AcvpCase> read_acvp_projections(const std::string& folder);

}  // namespace warpkem::kat
