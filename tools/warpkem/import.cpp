// warpkem import: from keys in PEM or DER to files of records.
#include <nlohmann/json.hpp>

#include "tools/warpkem/job.hpp"
#include "tools/warpkem/keys/options.hpp"
#include "tools/warpkem/progress.hpp"

namespace warpkem::tool {
namespace {

struct ImportOptions {
  JobOptions job;
  std::string in, ek, dk, failures;
  std::uint32_t dk_format = dk_format_by_default;
  KeyFormat format = KeyFormat::automatic;
  PassphraseOptions passphrase;
};

// The records of objects that gave one move together; returns their bytes.
std::size_t pack(const Buffer& records, std::size_t record_bytes, const std::vector<std::uint8_t>& statuses) {
  std::size_t packed = 0;
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    if (statuses[i] != WARPKEM_OK) continue;
    if (packed != i)
      std::copy_n(records.data() + i * record_bytes, record_bytes, records.data() + packed * record_bytes);
    ++packed;
  }
  return packed * record_bytes;
}

int import_keys(const ImportOptions& options) {
  const bool is_public = options.dk.empty();
  Files files(options.job.force ? Replace::everything : Replace::what_is_public);
  files.allow({.empty_inputs = options.job.allow_empty, .any_content = options.job.force});
  if (options.job.json) files.reserve_stdout("--json");
  Input& input = files.input("--in", options.in, {RecordKind::bytes, 0});
  Output& output =
      is_public ? files.output("--ek", options.ek, Secrecy::open) : files.output("--dk", options.dk, Secrecy::secret);
  const auto optional_output = [&](const char* argument, const std::string& path) {
    return path.empty() ? nullptr : &files.output(argument, path, Secrecy::open);
  };
  Output* const status_file = optional_output("--status", options.job.status);
  KeyFailures failures(optional_output("--failures", options.failures));
  Passphrase passphrase(options.passphrase);

  const Engine engine(options.job.backend, options.job.threads);
  KeyRecords keys(input, options.format, options.job.threads, passphrase,
                  {options.job.param, is_public, options.dk_format});
  files.open();
  const char* const param = warpkem_algorithm_name(keys.wish().algorithm);
  Progress progress(fmt::format("import {}", param), keys.expected());
  Buffer records;
  std::vector<std::uint8_t> statuses;
  std::uint64_t done = 0;
  while (keys.read(engine.get(), records, statuses, options.job.batch,
                   [&](const KeyFailure& failure) { failures.add(failure); }) > 0) {
    output.write(records.data(), pack(records, keys.record_bytes(), statuses));
    if (status_file != nullptr) status_file->write(statuses.data(), statuses.size());
    done += statuses.size();
    progress.expect(keys.expected());
    progress.update(done);
  }
  if (done == 0 && !options.job.allow_empty) {
    throw Error(fmt::format("{}: holds no key in PEM or DER; --allow-empty takes it", input.label()));
  }
  files.commit();
  return end_of_key_job(progress, failures, done, "objects", options.job.json,
                        {{"operation", "import"},
                         {"param", param},
                         {"form", is_public ? "ek" : name_of_dk_format(keys.wish().dk_format)},
                         {"records", done - failures.count()}});
}

}  // namespace

void add_import(Program& program) {
  const auto options = std::make_shared<ImportOptions>();
  Arguments arguments = program.add("import", "Read keys in PEM or DER, of any number, and write them as records",
                                    [options] { return import_keys(*options); });
  arguments.param(options->job.param);
  arguments.file(
      "--in", options->in,
      "SubjectPublicKeyInfo, certificates or PKCS#8, encrypted too: a PEM bundle, or DER one after the other",
      Need::required);
  arguments.file("--ek", options->ek, "Out: the public keys as encapsulation keys");
  arguments.file("--dk", options->dk, "Out: the private keys as decapsulation keys, secret");
  arguments.exactly_one({"--ek", "--dk"});
  arguments.dk_format(options->dk_format);
  add_key_format(arguments, "--format", options->format, false, "What --in is: pem or der (default: as it begins)");
  add_passphrase(arguments, options->passphrase);
  arguments.file("--failures", options->failures, "Out: a line for each object that gives no record, and why");
  add_common_options(arguments, options->job);
  add_force(arguments, options->job);
  arguments.note(
      "An object that cannot be read, or whose key is not good (the checks of FIPS 203, Sections 7.2 and 7.3, and that "
      "all parts are of one pair), gives no record, and is listed with its number, its place and the rule. Objects are "
      "counted from 0. --param may be left out where the first key tells it.");
}

}  // namespace warpkem::tool
