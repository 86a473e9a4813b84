// warpkem decaps: ML-KEM.Decaps of each ciphertext of a file.
#include "tools/warpkem/job.hpp"

namespace warpkem::tool {
namespace {

struct DecapsOptions {
  JobOptions job;
  std::string dk, ciphertext, shared_secret;
  std::uint32_t dk_format = dk_format_by_default;
  std::uint64_t key_reuse = 1;
};

int decaps(const DecapsOptions& options) {
  Job job("decaps", WARPKEM_OP_DECAPS, options.job);
  job.dk_format = options.dk_format;
  job.key_reuse = options.key_reuse;
  Input& dk = job.open_input("--dk", options.dk);
  Input& c = job.open_input("--ciphertext", options.ciphertext);
  job.add_output("--shared-secret", options.shared_secret, Secrecy::secret, WARPKEM_SIZE_K, &warpkem_batch::K_out);
  job.keys = job.keys_of(dk, false);
  c.take_as(job.records_of(RecordKind::c));
  job.items.push_back({&c, &warpkem_batch::c});
  return job.run();
}

}  // namespace

void add_decaps(Program& program) {
  const auto options = std::make_shared<DecapsOptions>();
  Arguments arguments = program.add("decaps", "Decapsulate each ciphertext", [options] { return decaps(*options); });
  add_key_job_options(arguments, options->job);
  add_force(arguments, options->job);
  arguments.file("--dk", options->dk, "Decapsulation keys", Need::required);
  arguments.file("--ciphertext", options->ciphertext, "Ciphertexts c", Need::required);
  arguments.file("--shared-secret", options->shared_secret, "Out: shared secrets K", Need::required);
  arguments.dk_format(options->dk_format);
  add_key_reuse(arguments, options->key_reuse);
}

}  // namespace warpkem::tool
