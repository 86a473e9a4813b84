// warpkem check: the checks of FIPS 203, Sections 7.2 (ek) and 7.3 (dk), alone, and whether ek and dk belong together.
#include "tools/warpkem/job.hpp"

namespace warpkem::tool {
namespace {

struct CheckOptions {
  JobOptions job;
  std::string ek, dk;
  std::uint32_t dk_format = dk_format_by_default;
};

int check_keys(const CheckOptions& options) {
  const bool has_ek = !options.ek.empty(), has_dk = !options.dk.empty();
  Job job("check", has_ek ? WARPKEM_OP_CHECK_EK : WARPKEM_OP_CHECK_DK, options.job);
  if (has_dk) job.dk_format = options.dk_format;
  // Of two files that are wrong both are named.
  std::string wrong;
  const auto attempt = [&wrong](const auto& step) {
    try {
      step();
    } catch (const Error& error) {
      wrong += (wrong.empty() ? "" : "; ") + std::string(error.what());
    }
  };
  Input *ek = nullptr, *dk = nullptr;
  if (has_ek) attempt([&] { ek = &job.open_input("--ek", options.ek); });
  if (has_dk) attempt([&] { dk = &job.open_input("--dk", options.dk); });
  InputColumn eks, dks;
  if (ek != nullptr) attempt([&] { eks = job.keys_of(*ek, true); });
  if (dk != nullptr) attempt([&] { dks = job.keys_of(*dk, false); });
  if (!wrong.empty()) throw Error(wrong);
  job.keys = has_ek ? eks : dks;
  if (has_ek && has_dk) job.items.push_back(dks);
  job.together = has_dk && (has_ek || job.dk_format == WARPKEM_DK_SEED);
  return job.run();
}

}  // namespace

void add_check(Program& program) {
  const auto options = std::make_shared<CheckOptions>();
  Arguments arguments =
      program.add("check", "Check keys as FIPS 203, Sections 7.2 and 7.3, say, and whether ek and dk belong together",
                  [options] { return check_keys(*options); });
  add_key_job_options(arguments, options->job);
  add_force(arguments, options->job);
  arguments.file("--ek", options->ek, "Encapsulation keys: every coefficient is below q");
  arguments.file("--dk", options->dk,
                 "Decapsulation keys: the hash of ek in an expanded one is right; a seed is always good. With --ek: "
                 "each dk belongs to the ek of the same number, else status 4");
  arguments.dk_format(options->dk_format);
  arguments.at_least_one({"--ek", "--dk"});
}

}  // namespace warpkem::tool
