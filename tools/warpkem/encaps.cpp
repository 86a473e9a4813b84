// warpkem encaps: ML-KEM.Encaps to each key of a file.
#include "tools/warpkem/job.hpp"

namespace warpkem::tool {
namespace {

struct EncapsOptions {
  JobOptions job;
  std::string ek, ciphertext, shared_secret, m;
  std::uint64_t key_reuse = 1;
};

int encaps(const EncapsOptions& options) {
  Job job("encaps", WARPKEM_OP_ENCAPS, options.job);
  job.key_reuse = options.key_reuse;
  Input& ek = job.open_input("--ek", options.ek);
  Input* const m = options.m.empty() ? nullptr : &job.open_input("--m", options.m);
  job.add_output("--shared-secret", options.shared_secret, Secrecy::secret, WARPKEM_SIZE_K, &warpkem_batch::K_out);
  job.add_output("--ciphertext", options.ciphertext, Secrecy::open, WARPKEM_SIZE_C, &warpkem_batch::c_out);
  job.keys = job.keys_of(ek, true);
  if (m != nullptr) {
    job.flags = WARPKEM_DERAND;
    m->take_as(job.records_of(RecordKind::m));
    job.items.push_back({m, &warpkem_batch::m});
  }
  return job.run();
}

}  // namespace

void add_encaps(Program& program) {
  const auto options = std::make_shared<EncapsOptions>();
  Arguments arguments =
      program.add("encaps", "Encapsulate a fresh shared secret to each key", [options] { return encaps(*options); });
  add_key_job_options(arguments, options->job);
  add_force(arguments, options->job);
  arguments.file("--ek", options->ek, "Encapsulation keys", Need::required);
  arguments.file("--ciphertext", options->ciphertext, "Out: ciphertexts c", Need::required);
  arguments.file("--shared-secret", options->shared_secret, "Out: shared secrets K", Need::required);
  arguments.file("--m", options->m, "Messages m in place of randomness: for tests only");
  add_key_reuse(arguments, options->key_reuse);
}

}  // namespace warpkem::tool
