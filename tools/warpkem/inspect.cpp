// warpkem inspect: what a file of unknown kind is: keys in PEM or DER, or records, how many, whose, and whether they
// are good.
#include <fmt/core.h>
#include <warpkem/keyfile.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tools/warpkem/job.hpp"
#include "tools/warpkem/keys/key_stream.hpp"
#include "tools/warpkem/keys/key_writer.hpp"
#include "tools/warpkem/keys/options.hpp"
#include "tools/warpkem/keys/pem.hpp"
#include "tools/warpkem/progress.hpp"

#ifdef WARPKEM_TOOL_HAS_OPENSSL
#include <openssl/evp.h>
#endif

namespace warpkem::tool {
namespace {

using Json = nlohmann::ordered_json;

struct InspectOptions {
  std::string in, backend;
  std::uint32_t threads = WARPKEM_THREADS_AUTO;
  std::size_t list = 10;
  bool json = false;
  PassphraseOptions passphrase;
};

constexpr std::size_t records_at_a_time = 8192;

// SHA-256 of the ek's SubjectPublicKeyInfo, hexadecimal; null in a build without OpenSSL, and of what has none.
Json fingerprint(warpkem_algorithm algorithm, const std::uint8_t* ek) {
#ifdef WARPKEM_TOOL_HAS_OPENSSL
  const std::size_t bytes = warpkem_encoded_bytes(algorithm, WARPKEM_ENCODING_PUBLIC);
  if (ek == nullptr || bytes == 0) return nullptr;
  std::vector<std::uint8_t> der(bytes);
  check(warpkem_encode_keys(algorithm, WARPKEM_ENCODING_PUBLIC, 1, {ek, warpkem_size(algorithm, WARPKEM_SIZE_EK), 0},
                            {nullptr, 0, 0}, {der.data(), der.size(), 0}));
  std::uint8_t digest[32];
  if (EVP_Digest(der.data(), der.size(), digest, nullptr, EVP_sha256(), nullptr) != 1) return nullptr;
  std::string text;
  for (const std::uint8_t byte : digest) text += fmt::format("{:02x}", byte);
  return text;
#else
  static_cast<void>(algorithm), static_cast<void>(ek);
  return nullptr;
#endif
}

// Keys that have the same algorithm and form.
struct KeyGroup {
  std::string param, form;
  bool encrypted;
  std::uint64_t count = 0, valid = 0;
};

class Inspection {
 public:
  explicit Inspection(const InspectOptions& options)
      : options_(options), engine_(options.backend, options.threads), passphrase_(options.passphrase) {}

  Json run() {
    Files files(Replace::everything);
    Input& input = files.input("--in", options_.in, {RecordKind::bytes, 0});
    const Buffer beginning(sample_bytes);
    Buffer bytes;
    const std::size_t have = input.read_bytes(bytes, 0, sample_bytes);
    std::optional<std::uint64_t> total = input.records();
    if (have < sample_bytes) total = have;
    report_ = {{"file", options_.in}, {"bytes", nullptr}};
    if (total) report_["bytes"] = *total;
    const Sample sample{bytes.data(), have, total};
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), have);
    if (have == 0) {
      report_["kind"] = "empty";
    } else if (next_pem_block(text, 0) != std::string_view::npos) {
      keys(input, KeyFormat::pem, text);
    } else if (is_der(sample)) {
      keys(input, KeyFormat::der, text);
    } else {
      records(input, sample, bytes);
    }
    return report_;
  }

 private:
  // One of the objects that the library knows, or SEQUENCEs one after the other.
  static bool is_der(const Sample& sample) {
    if (proven_encoding(sample).starts_with("a DER")) return true;
    if (sample.bytes < 4 || sample.data[0] != 0x30 || sample.data[1] != 0x82) return false;
    const std::size_t next = std::size_t{4} + (std::size_t{sample.data[2]} << 8 | sample.data[3]);
    return next < sample.bytes ? sample.data[next] == 0x30 : sample.total && next == *sample.total;
  }

  // ---- keys ----

  void keys(Input& input, KeyFormat format, std::string_view beginning) {
    KeyStream stream(input, format, options_.threads, passphrase_);
    stream.begin_with(reinterpret_cast<const std::uint8_t*>(beginning.data()), beginning.size());
    Progress progress("inspect", std::nullopt);
    Json listed = Json::array();
    std::uint64_t count = 0, valid = 0;
    while (stream.next()) {
      for (std::size_t first = 0; first < stream.count(); first += records_at_a_time) {
        const std::size_t last = std::min(stream.count(), first + records_at_a_time);
        check_keys(stream, first, last);
        stream.each(first, last, [&](const KeyObject& object) {
          const bool is_valid = object.status == WARPKEM_OK;
          KeyGroup& group = group_of(object);
          ++group.count, group.valid += is_valid, valid += is_valid;
          if (listed.size() < options_.list) listed.push_back(entry_of(count, object));
          ++count;
        });
      }
      progress.update(count);
    }
    progress.finish(count);
    report_["kind"] = format == KeyFormat::pem ? "pem" : "der";
    report_["objects"] = count;
    report_["valid"] = valid;
    Json groups = Json::array();
    for (const KeyGroup& group : groups_) {
      groups.push_back({{"param", group.param},
                        {"form", group.form},
                        {"encrypted", group.encrypted},
                        {"count", group.count},
                        {"valid", group.valid}});
    }
    report_["groups"] = std::move(groups);
    report_["first"] = std::move(listed);
  }

  void check_keys(KeyStream& stream, std::size_t first, std::size_t last) {
    std::vector<KeyObject*> good;
    std::vector<warpkem_decoded_key> decoded;
    stream.each(first, last, [&](KeyObject& object) {
      if (object.status != WARPKEM_OK) return;
      good.push_back(&object), decoded.push_back(object.key);
    });
    if (good.empty()) return;
    std::vector<std::uint8_t> statuses(good.size());
    check(warpkem_check_keys(engine_.get(), good.size(), decoded.data(), statuses.data(), nullptr));
    for (std::size_t i = 0; i < good.size(); ++i) {
      good[i]->status = statuses[i];
      if (statuses[i] != WARPKEM_OK) good[i]->error = meaning_of(statuses[i]);
    }
  }

  KeyGroup& group_of(const KeyObject& object) {
    const bool is_known = object.key.algorithm != 0;
    const std::string param = is_known ? warpkem_algorithm_name(object.key.algorithm) : "";
    const std::string form = is_known ? name_of_encoding(object.key.encoding) : "";
    const auto found = std::ranges::find_if(groups_, [&](const KeyGroup& group) {
      return group.param == param && group.form == form && group.encrypted == object.was_encrypted;
    });
    if (found != groups_.end()) return *found;
    return groups_.emplace_back(KeyGroup{param, form, object.was_encrypted});
  }

  Json entry_of(std::uint64_t number, const KeyObject& object) {
    const bool is_valid = object.status == WARPKEM_OK, is_known = object.key.algorithm != 0;
    Json entry = {{"item", number}, {"offset", object.offset}, {"param", nullptr}, {"form", nullptr}};
    if (is_known) {
      entry["param"] = warpkem_algorithm_name(object.key.algorithm);
      entry["form"] = name_of_encoding(object.key.encoding);
    }
    entry["encrypted"] = object.was_encrypted;
    entry["valid"] = is_valid;
    entry["status"] = object.status;
    entry["reason"] = is_valid ? Json(nullptr) : Json(object.error);
    entry["fingerprint"] = is_valid ? fingerprint_of(object.key) : Json(nullptr);
    return entry;
  }

  // A private key has the fingerprint of its public one. Of a composite key nothing tells it but a publicKey.
  Json fingerprint_of(const warpkem_decoded_key& key) {
    const std::size_t ek_bytes = warpkem_size(key.algorithm, WARPKEM_SIZE_EK);
    if (key.ek != nullptr) return fingerprint(key.algorithm, key.ek);
    if (key.expanded != nullptr) {
      return fingerprint(key.algorithm, key.expanded + warpkem_size(key.algorithm, WARPKEM_SIZE_DK) - 64 - ek_bytes);
    }
    if (key.seed == nullptr) return nullptr;
    const std::size_t seed_bytes = warpkem_size(key.algorithm, WARPKEM_SIZE_DK_SEED);
    const Buffer ek(ek_bytes), again(seed_bytes);
    check(warpkem_keygen_derand(engine_.get(), key.algorithm, WARPKEM_DK_SEED, 1, {key.seed, seed_bytes, 0},
                                {ek.data(), ek.size(), 0}, {again.data(), again.size(), 0}, nullptr, nullptr));
    return fingerprint(key.algorithm, ek.data());
  }

  // ---- records ----

  void records(Input& input, const Sample& sample, Buffer& bytes) {
    const std::string encoding = proven_encoding(sample);
    const auto proven = encoding.empty() ? proven_records(sample) : std::vector<Content>();
    report_["kind"] = !encoding.empty() ? encoding : proven.empty() ? "unknown" : "raw";
    if (proven.size() == 1) return check_records(input, proven.front(), bytes, sample.bytes);
    Json could_be = Json::array();
    const auto candidates = !proven.empty() || !sample.total ? proven : fitting_records(*sample.total);
    if (!encoding.empty()) return;
    for (const Content& content : candidates) {
      Json one = {{"content", content.name()}, {"record_bytes", content.record_bytes()}};
      if (sample.total) one["records"] = *sample.total / content.record_bytes();
      could_be.push_back(std::move(one));
    }
    report_["could_be"] = std::move(could_be);
  }

  // Records of which the first ones prove what they are.
  void check_records(Input& input, const Content& content, Buffer& bytes, std::size_t have) {
    const std::size_t record = content.record_bytes();
    const bool is_ek = content.kind == RecordKind::ek;
    Progress progress("inspect " + content.name(), std::nullopt);
    std::uint64_t count = 0, valid = 0;
    Json listed = Json::array();
    for (;;) {
      have = input.read_bytes(bytes, have, records_at_a_time * record);
      const std::size_t here = have / record;
      if (here == 0) break;
      std::vector<warpkem_decoded_key> keys(here);
      for (std::size_t i = 0; i < here; ++i) {
        keys[i].struct_size = sizeof keys[i];
        keys[i].algorithm = content.algorithm;
        keys[i].encoding = is_ek ? WARPKEM_ENCODING_PUBLIC : WARPKEM_ENCODING_EXPANDED;
        (is_ek ? keys[i].ek : keys[i].expanded) = bytes.data() + i * record;
      }
      std::vector<std::uint8_t> statuses(here);
      check(warpkem_check_keys(engine_.get(), here, keys.data(), statuses.data(), nullptr));
      for (std::size_t i = 0; i < here; ++i) {
        const bool is_valid = statuses[i] == WARPKEM_OK;
        valid += is_valid;
        if (listed.size() >= options_.list) continue;
        listed.push_back({{"item", count + i},
                          {"offset", (count + i) * record},
                          {"valid", is_valid},
                          {"status", statuses[i]},
                          {"reason", is_valid ? Json(nullptr) : Json(meaning_of(statuses[i]))},
                          {"fingerprint", is_valid && !is_hybrid(content.algorithm) ? fingerprint_of(keys[i])
                                          : is_valid && is_ek ? fingerprint(content.algorithm, keys[i].ek)
                                                              : Json(nullptr)}});
      }
      count += here;
      have -= here * record;
      std::memmove(bytes.data(), bytes.data() + here * record, have);
      progress.update(count);
    }
    progress.finish(count);
    report_["content"] = content.name();
    report_["param"] = warpkem_algorithm_name(content.algorithm);
    report_["record_bytes"] = record;
    report_["objects"] = count;
    report_["valid"] = valid;
    if (have > 0) report_["bytes_left_over"] = have;
    report_["first"] = std::move(listed);
  }

  const InspectOptions& options_;
  const Engine engine_;
  Passphrase passphrase_;
  std::vector<KeyGroup> groups_;
  Json report_;
};

std::string text_or(const Json& value, const char* otherwise) {
  return value.is_string() && !value.get<std::string>().empty() ? value.get<std::string>() : otherwise;
}

std::string inspection_as_text(const Json& report) {
  const std::string kind = report["kind"].get<std::string>();
  const bool is_keys = kind == "pem" || kind == "der";
  std::string text = report["file"].get<std::string>() + ": ";
  if (is_keys) {
    text += fmt::format("{}, {} objects, {} valid\n", kind == "pem" ? "PEM" : "DER",
                        report["objects"].get<std::uint64_t>(), report["valid"].get<std::uint64_t>());
    for (const Json& group : report["groups"]) {
      text += fmt::format("  {} {}{}{}, {} valid\n", group["count"].get<std::uint64_t>(),
                          text_or(group["param"], "unreadable"), group["form"].get<std::string>().empty() ? "" : ", ",
                          group["form"].get<std::string>() + (group["encrypted"].get<bool>() ? ", encrypted" : ""),
                          group["valid"].get<std::uint64_t>());
    }
  } else if (report.contains("content")) {
    text += fmt::format("records, {} of {}, {} valid\n", report["objects"].get<std::uint64_t>(),
                        report["content"].get<std::string>(), report["valid"].get<std::uint64_t>());
    if (report.contains("bytes_left_over"))
      text += fmt::format("  and {} bytes that are no whole record\n", report["bytes_left_over"].get<std::size_t>());
  } else if (report.contains("could_be") && !report["could_be"].empty()) {
    text += "nothing in it tells what it is; by its length it could be\n";
    for (const Json& one : report["could_be"]) {
      text += fmt::format("  {} {}\n", one.value("records", std::uint64_t{0}), one["content"].get<std::string>());
    }
  } else {
    text += kind == "unknown" ? "nothing that WarpKEM knows\n" : kind + "\n";
  }
  for (const Json& one : report.value("first", Json::array())) {
    text += fmt::format("  object {} at byte offset {}: ", one["item"].get<std::uint64_t>(),
                        one["offset"].get<std::uint64_t>());
    if (is_keys)
      text +=
          fmt::format("{}{}, ",
                      one["form"].is_null() ? std::string("unreadable")
                                            : one["param"].get<std::string>() + " " + one["form"].get<std::string>(),
                      one["encrypted"].get<bool>() ? ", encrypted" : "");
    text += one["valid"].get<bool>() ? "valid" : "NOT valid: " + one["reason"].get<std::string>();
    if (!one["fingerprint"].is_null()) text += ", SHA-256 " + one["fingerprint"].get<std::string>();
    text += "\n";
  }
  if (report.contains("first") && report["first"].size() < report["objects"].get<std::uint64_t>())
    text += fmt::format("  and {} more (--list N)\n", report["objects"].get<std::uint64_t>() - report["first"].size());
  return text;
}

int inspect(const InspectOptions& options) {
  const Json report = Inspection(options).run();
  write_stdout(options.json ? report.dump(2) + "\n" : inspection_as_text(report));
  const std::uint64_t objects = report.value("objects", std::uint64_t{0});
  return objects > 0 && report["valid"] == objects && !report.contains("bytes_left_over") ? exit_ok : exit_items_failed;
}

}  // namespace

void add_inspect(Program& program) {
  const auto options = std::make_shared<InspectOptions>();
  Arguments arguments =
      program.add("inspect", "Say what a file is: keys in PEM or DER or records, whose, and valid or not",
                  [options] { return inspect(*options); });
  arguments.file("--in", options->in, "The file", Need::required);
  arguments.flag("--json", options->json, "As JSON");
  arguments.number("--list", options->list, 0, std::size_t{1} << 20,
                   "So many objects are described one by one (default 10)");
  arguments.backend(options->backend);
  arguments.threads(options->threads);
  add_passphrase(arguments, options->passphrase);
  arguments.note(
      "A fingerprint is the SHA-256 of the SubjectPublicKeyInfo of the public key, of a private key too. Exit status 2 "
      "also "
      "where nothing, or not everything, is known to be a valid key: seeds, ciphertexts and secrets look like "
      "nothing.");
}

}  // namespace warpkem::tool
