// Answers to prompts of NIST's ACVP for ML-KEM (draft-celi-acvp-ml-kem).
#pragma once

#include <warpkem/warpkem.h>

#include <string>

namespace warpkem::tool {

// The response to a prompt, both as JSON. Each group of tests is one batch. Throws Error.
std::string acvp_response(warpkem_engine* engine, const std::string& prompt);

}  // namespace warpkem::tool
