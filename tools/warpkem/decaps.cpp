// warpkem decaps: ML-KEM.Decaps of each ciphertext of a file.
#include "tools/warpkem/job.hpp"

namespace warpkem::tool {
namespace {

struct DecapsOptions {
  JobOptions job;
  std::string dk, ciphertext, shared_secret;
  std::uint32_t dk_format = WARPKEM_DK_EXPANDED;
  std::uint64_t key_reuse = 1;
};

int decaps(const DecapsOptions& options) {
  Job job("decaps", WARPKEM_OP_DECAPS, options.job);
  job.dk_format = options.dk_format;
  job.key_reuse = options.key_reuse;
  const std::uint32_t dk_size = options.dk_format == WARPKEM_DK_SEED ? WARPKEM_SIZE_DK_SEED : WARPKEM_SIZE_DK;
  job.keys = {&job.files.input("--dk", options.dk, job.size(dk_size)), &warpkem_batch::dk};
  job.items.push_back(
      {&job.files.input("--ciphertext", options.ciphertext, job.size(WARPKEM_SIZE_C)), &warpkem_batch::c});
  job.add_output("--shared-secret", options.shared_secret, Secrecy::secret, WARPKEM_SIZE_K, &warpkem_batch::K_out);
  return job.run();
}

}  // namespace

void add_decaps(CLI::App& app, Command& chosen) {
  const auto options = std::make_shared<DecapsOptions>();
  CLI::App& command = add_command(app, chosen, "decaps", "Decapsulate each ciphertext", options, decaps);
  add_job_options(command, options->job);
  add_file(command, "--dk", options->dk, "Decapsulation keys")->required();
  add_file(command, "--ciphertext", options->ciphertext, "Ciphertexts c")->required();
  add_file(command, "--shared-secret", options->shared_secret, "Out: shared secrets K, 32 bytes each")->required();
  add_dk_format(command, options->dk_format);
  add_key_reuse(command, options->key_reuse);
}

}  // namespace warpkem::tool
