// warpkem-kat: prints what kat/ is about, to compare by hand or to make vectors/ again.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "kat/accumulated.hpp"
#include "kat/intermediate.hpp"
#include "kat/rsp.hpp"

namespace {

constexpr char usage[] =
    "usage: warpkem-kat intermediate SET            one instance with intermediate values\n"
    "       warpkem-kat rsp SET VECTORS             text of NIST's classic response file\n"
    "       warpkem-kat accumulated SET FORM COUNT  digest of the accumulated test; FORM: tvecs, go\n"
    "SET: ML-KEM-512, ML-KEM-768, ML-KEM-1024\n";

int run(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  const warpkem_algorithm algorithm = argc > 2 ? warpkem_algorithm_by_name(argv[2]) : 0;
  warpkem_engine* engine = nullptr;
  if (algorithm != 0 && warpkem_engine_new(nullptr, &engine) != WARPKEM_OK) {
    std::fprintf(stderr, "warpkem-kat: %s\n", warpkem_last_error());
    return 1;
  }
  const warpkem::kat::Kem kem(engine, algorithm);
  std::string text;
  if (algorithm != 0 && command == "intermediate" && argc == 3) {
    text = warpkem::kat::intermediate_text(algorithm);
  } else if (algorithm != 0 && command == "rsp" && argc == 4) {
    text = warpkem::kat::rsp_text(kem, std::stoul(argv[3]));
  } else if (algorithm != 0 && command == "accumulated" && argc == 5) {
    const auto form =
        std::string(argv[3]) == "go" ? warpkem::kat::AccumulatedForm::go : warpkem::kat::AccumulatedForm::tvecs;
    text = warpkem::kat::accumulated_digest(kem, form, std::stoul(argv[4])) + "\n";
  } else {
    std::fputs(usage, stderr);
    return 1;
  }
  warpkem_engine_free(engine);
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "warpkem-kat: %s\n", error.what());
    return 1;
  }
}
