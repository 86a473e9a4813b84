// warpkem check: the checks of FIPS 203, Sections 7.2 (ek) and 7.3 (dk), alone.
#include "tools/warpkem/job.hpp"

namespace warpkem::tool {
namespace {

struct CheckOptions {
  JobOptions job;
  std::string ek, dk;
};

int check_keys(const CheckOptions& options) {
  const bool is_ek = !options.ek.empty();
  Job job("check", is_ek ? WARPKEM_OP_CHECK_EK : WARPKEM_OP_CHECK_DK, options.job);
  job.keys = is_ek ? InputColumn{&job.files.input("--ek", options.ek, job.size(WARPKEM_SIZE_EK)), &warpkem_batch::ek}
                   : InputColumn{&job.files.input("--dk", options.dk, job.size(WARPKEM_SIZE_DK)), &warpkem_batch::dk};
  return job.run();
}

}  // namespace

void add_check(Program& program) {
  const auto options = std::make_shared<CheckOptions>();
  Arguments arguments = program.add("check", "Check keys as FIPS 203, Sections 7.2 and 7.3, say",
                                    [options] { return check_keys(*options); });
  add_job_options(arguments, options->job);
  arguments.file("--ek", options->ek, "Encapsulation keys: every coefficient is below q");
  arguments.file("--dk", options->dk, "Expanded decapsulation keys: the hash of ek is right");
  arguments.exactly_one({"--ek", "--dk"});
}

}  // namespace warpkem::tool
