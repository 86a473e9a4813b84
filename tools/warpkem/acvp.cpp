// warpkem acvp: answers a prompt of NIST's ACVP for ML-KEM.
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>

#include "tools/warpkem/acvp_answer.hpp"
#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/io.hpp"

namespace warpkem::tool {
namespace {

struct AcvpOptions {
  std::string prompt, out, backend;
  std::uint32_t threads = WARPKEM_THREADS_AUTO;
  bool force = false;
};

int acvp(const AcvpOptions& options) {
  const auto text_of = [](std::istream& stream) { return std::string(std::istreambuf_iterator<char>(stream), {}); };
  std::ifstream file;
  if (options.prompt != "-") file.open(options.prompt, std::ios::binary);
  std::istream& stream = options.prompt == "-" ? std::cin : file;
  if (!stream) throw Error(options.prompt + " cannot be read");
  const Engine engine(options.backend, options.threads);
  std::string response;
  try {
    response = acvp_response(engine.get(), text_of(stream));
  } catch (const Error& error) {
    throw Error(options.prompt + ": " + error.what());
  }
  Files files(options.force ? Replace::everything : Replace::what_is_public);
  Output& out = files.output("--out", options.out, Secrecy::open);
  files.open();
  out.write(reinterpret_cast<const std::uint8_t*>(response.data()), response.size());
  files.commit();
  return exit_ok;
}

}  // namespace

void add_acvp(Program& program) {
  const auto options = std::make_shared<AcvpOptions>();
  Arguments arguments = program.add("acvp", "Answer a prompt of NIST's ACVP: keyGen and encapDecap of ML-KEM",
                                    [options] { return acvp(*options); });
  arguments.file("prompt", options->prompt, "The prompt, JSON", Need::required);
  arguments.file("--out", options->out, "Out: the response, JSON", Need::required);
  arguments.backend(options->backend);
  arguments.threads(options->threads);
  arguments.flag("--force", options->force, "Replace what may hold secrets, and write to a terminal");
  arguments.note(
      "Each group is one batch. Keys and messages of prompts are known to others: never use them for anything else.");
}

}  // namespace warpkem::tool
