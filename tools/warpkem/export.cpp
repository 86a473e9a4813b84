// warpkem export: from files of records to keys in PEM or DER.
#include <warpkem/keyfile.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "tools/warpkem/job.hpp"
#include "tools/warpkem/keys/key_writer.hpp"
#include "tools/warpkem/keys/options.hpp"
#include "tools/warpkem/progress.hpp"

namespace warpkem::tool {
namespace {

struct ExportOptions {
  JobOptions job;
  std::string ek, dk, out;
  std::uint32_t dk_format = dk_format_by_default;
  KeyFormat format = KeyFormat::automatic;
  KeyEncodingOptions encoding;
};

int export_keys(const ExportOptions& options) {
  const bool is_public = options.dk.empty();
  Files files(options.job.force ? Replace::everything : Replace::what_is_public);
  files.allow({.empty_inputs = options.job.allow_empty, .any_content = options.job.force});
  Input& input = is_public ? files.input("--ek", options.ek, {RecordKind::bytes, 0})
                           : files.input("--dk", options.dk, {RecordKind::bytes, 0});
  const warpkem_algorithm param = options.job.param != 0 ? options.job.param : algorithm_told_by(input, is_public);
  const std::uint32_t dk_format = is_public ? 0 : dk_format_of(param, options.dk_format);
  const std::uint32_t encoding = encoding_of(param, is_public, dk_format, options.encoding);
  if (options.job.json) files.reserve_stdout("--json");
  const RecordKind kind = is_public                           ? RecordKind::ek
                          : dk_format == WARPKEM_DK_SEED      ? RecordKind::seed
                          : dk_format == WARPKEM_DK_COMPOSITE ? RecordKind::composite_dk
                                                              : RecordKind::dk;
  input.take_as({kind, param});
  Output& output = files.output("--out", options.out, is_public ? Secrecy::open : Secrecy::secret);
  Output* const status_file =
      options.job.status.empty() ? nullptr : &files.output("--status", options.job.status, Secrecy::open);
  KeyFailures failures(nullptr);

  const Engine engine(options.job.backend, options.job.threads);
  KeyWriter writer(engine.get(), param, encoding, dk_format, options.format, options.job.threads);
  files.open();
  Progress progress(fmt::format("export {}", warpkem_algorithm_name(param)), input.records());
  Buffer records;
  std::vector<std::uint8_t> statuses;
  std::uint64_t done = 0;
  while (const std::size_t count = input.read(records, options.job.batch)) {
    const auto text = writer.write(records, count, statuses);
    output.write(text.data(), text.size());
    if (status_file != nullptr) status_file->write(statuses.data(), count);
    for (std::size_t i = 0; i < count; ++i) {
      if (statuses[i] == WARPKEM_OK) continue;
      failures.add({done + i, input.offset(done + i), statuses[i], meaning_of(statuses[i])});
    }
    done += count;
    progress.update(done);
  }
  files.commit();
  return end_of_key_job(
      progress, failures, done, "records", options.job.json,
      {{"operation", "export"}, {"param", warpkem_algorithm_name(param)}, {"form", name_of_encoding(encoding)}});
}

}  // namespace

void add_export(Program& program) {
  const auto options = std::make_shared<ExportOptions>();
  Arguments arguments = program.add("export", "Write records as keys in PEM or DER, one after the other",
                                    [options] { return export_keys(*options); });
  arguments.param(options->job.param);
  arguments.file("--ek", options->ek, "Encapsulation keys, which become SubjectPublicKeyInfo");
  arguments.file("--dk", options->dk, "Decapsulation keys, which become PKCS#8");
  arguments.exactly_one({"--ek", "--dk"});
  arguments.dk_format(options->dk_format);
  arguments.file("--out", options->out, "Out: the keys; secret with --dk", Need::required);
  add_key_format(arguments, "--format", options->format, false, "What is written: pem or der", Need::required);
  add_key_encoding(arguments, options->encoding);
  add_common_options(arguments, options->job);
  add_force(arguments, options->job);
  arguments.note(
      "A record whose key is not good (FIPS 203, Sections 7.2 and 7.3) is not written, and is listed. --param may be "
      "left out where the records prove to be ek or expanded dk of one set.");
}

}  // namespace warpkem::tool
