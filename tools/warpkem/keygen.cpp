// warpkem keygen: ML-KEM.KeyGen, from the engine's randomness or from given seeds d || z.
#include "tools/warpkem/job.hpp"

namespace warpkem::tool {
namespace {

struct KeygenOptions {
  JobOptions job;
  std::uint64_t count = 0;
  std::string seeds, ek, dk;
  std::uint32_t dk_format = WARPKEM_DK_EXPANDED;
};

int keygen(const KeygenOptions& options) {
  Job job("keygen", WARPKEM_OP_KEYGEN, options.job);
  job.dk_format = options.dk_format;
  job.count = options.count;
  if (!options.seeds.empty()) {
    job.flags = WARPKEM_DERAND;
    job.keys = {&job.files.input("--seeds", options.seeds, job.records_of(RecordKind::seed)), &warpkem_batch::seeds};
  }
  job.add_output("--dk", options.dk, Secrecy::secret, WARPKEM_SIZE_DK, &warpkem_batch::dk_out);
  job.add_output("--ek", options.ek, Secrecy::open, WARPKEM_SIZE_EK, &warpkem_batch::ek_out);
  return job.run();
}

}  // namespace

void add_keygen(Program& program) {
  const auto options = std::make_shared<KeygenOptions>();
  Arguments arguments = program.add("keygen", "Generate key pairs", [options] { return keygen(*options); });
  add_job_options(arguments, options->job);
  add_force(arguments, options->job);
  arguments.number("--count", options->count, 0, std::uint64_t{1} << 48, "So many fresh key pairs");
  arguments.file("--seeds", options->seeds, "One key pair for each seed d || z, 64 bytes");
  arguments.exactly_one({"--count", "--seeds"});
  arguments.file("--ek", options->ek, "Out: encapsulation keys", Need::required);
  arguments.file("--dk", options->dk, "Out: decapsulation keys, secret", Need::required);
  arguments.dk_format(options->dk_format);
}

}  // namespace warpkem::tool
