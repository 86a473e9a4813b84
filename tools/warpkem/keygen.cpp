// warpkem keygen: key pairs, from the engine's randomness, from given seeds or from key material of HPKE.
#include <fmt/core.h>
#include <sys/stat.h>

#include "tools/warpkem/job.hpp"
#include "tools/warpkem/keys/options.hpp"

namespace warpkem::tool {
namespace {

struct KeygenOptions {
  JobOptions job;
  std::uint64_t count = 0;
  std::string seeds, hpke_ikm, ek, dk;
  std::uint64_t ikm_bytes = 0;
  std::uint32_t dk_format = dk_format_by_default;
  KeyEncodingOptions encoding;
};

// Of keys in PEM or DER: what RFC 9935 recommends, and what there is of hybrids.
std::uint32_t dk_format_of_files(const KeygenOptions& options) {
  const warpkem_algorithm param = options.job.param;
  if (options.job.format == KeyFormat::raw || options.dk_format != dk_format_by_default) return options.dk_format;
  if (options.encoding.private_form == WARPKEM_ENCODING_EXPANDED) return WARPKEM_DK_EXPANDED;
  const bool has_seeds = !is_hybrid(param) || warpkem_encoded_bytes(param, WARPKEM_ENCODING_SEED) != 0;
  return has_seeds ? WARPKEM_DK_SEED : WARPKEM_DK_COMPOSITE;
}

// Whether a file is there and begins with an ek.
bool holds_ek(const std::string& path) {
  struct stat info {};
  if (path == "-" || stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0) return false;
  try {
    Input there("--ek", path, {RecordKind::bytes, 0}, {});
    const auto proven = proven_records(there.peek(nullptr));
    return !proven.empty() && proven.front().kind == RecordKind::ek;
  } catch (const Error&) {  // nobody may read it
    return false;
  }
}

int keygen(const KeygenOptions& options) {
  Job job("keygen", WARPKEM_OP_KEYGEN, options.job);
  job.dk_format = dk_format_of(options.job.param, dk_format_of_files(options));
  job.count = options.count;
  if (!options.seeds.empty()) {
    job.flags = WARPKEM_DERAND;
    job.keys = {&job.files.input("--seeds", options.seeds, job.seed_records()), &warpkem_batch::seeds};
  }
  if ((options.ikm_bytes == 0) != options.hpke_ikm.empty()) throw Error("--hpke-ikm and --ikm-bytes belong together");
  if (options.ikm_bytes > 0) {
    if (job.dk_format == WARPKEM_DK_COMPOSITE) throw Error("--hpke-ikm makes seeds, and a composite dk has none");
    job.flags = WARPKEM_DERAND;
    job.ikm_bytes = static_cast<std::size_t>(options.ikm_bytes);
    const Content ikm{RecordKind::ikm, options.job.param, job.ikm_bytes};
    job.keys = {&job.files.input("--hpke-ikm", options.hpke_ikm, ikm), &warpkem_batch::seeds};
  }
  job.add_output("--dk", options.dk, Secrecy::secret, WARPKEM_SIZE_DK, &warpkem_batch::dk_out);
  job.add_output("--ek", options.ek, Secrecy::open, WARPKEM_SIZE_EK, &warpkem_batch::ek_out);
  if (options.job.format != KeyFormat::raw) {
    job.outputs[0].encoding = encoding_of(job.options.param, false, job.dk_format, options.encoding);
    // A pair is under one OID: X-Wing's seeds have X-Wing's own.
    const bool is_x_wing = is_hybrid(job.options.param) && job.outputs[0].encoding == WARPKEM_ENCODING_SEED;
    job.outputs[1].encoding = encoding_of(job.options.param, true, 0, {.private_form = 0, .x_wing_oid = is_x_wing});
  } else if (options.encoding.private_form != 0) {
    throw Error("--private-form is of keys in PEM or DER; accepted: --format pem or der, or --dk-format");
  }
  struct stat info {};
  const bool replaces_ek = holds_ek(options.ek) && (stat(options.dk.c_str(), &info) != 0 || info.st_size == 0);
  const int status = job.run();
  if (replaces_ek) {
    write_stderr(
        fmt::format("warpkem: --ek {}: the keys that were there are replaced; their dk, if it is kept elsewhere, "
                    "belongs to none of "
                    "the new ones\n",
                    options.ek));
  }
  return status;
}

}  // namespace

void add_keygen(Program& program) {
  const auto options = std::make_shared<KeygenOptions>();
  Arguments arguments = program.add("keygen", "Generate key pairs", [options] { return keygen(*options); });
  add_job_options(arguments, options->job);
  add_force(arguments, options->job);
  arguments.number("--count", options->count, 0, std::uint64_t{1} << 48, "So many fresh key pairs");
  arguments.file("--seeds", options->seeds, "One key pair for each seed; 'warpkem info' lists their sizes");
  arguments.file("--hpke-ikm", options->hpke_ikm,
                 "One key pair for each ikm of HPKE's DeriveKeyPair, of --ikm-bytes bytes");
  arguments.number("--ikm-bytes", options->ikm_bytes, 1, 65536, "Bytes of an ikm");
  arguments.exactly_one({"--count", "--seeds", "--hpke-ikm"});
  arguments.file("--ek", options->ek, "Out: encapsulation keys", Need::required);
  arguments.file("--dk", options->dk, "Out: decapsulation keys, secret", Need::required);
  arguments.dk_format(options->dk_format);
  add_key_format(
      arguments, "--format", options->job.format, true,
      "Form of the keys: raw records (default); pem or der, as 'warpkem export' writes them, of a dk the seed "
      "unless --dk-format or --private-form says otherwise");
  add_private_form(arguments, options->encoding);
  arguments.number(
      "--pairwise", options->job.pairwise_every, 1, std::size_t{1} << 48,
      "Test one key pair in N, 1: each, by an encapsulation and a decapsulation, as FIPS 140-3 (IG 10.3.A) asks "
      "of modules (default: none)");
}

}  // namespace warpkem::tool
