#include "tools/warpkem/keys/key_writer.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/keys/pem.hpp"
#include "tools/warpkem/threads.hpp"

namespace warpkem::tool {
namespace {

bool is_public(std::uint32_t encoding) {
  return encoding == WARPKEM_ENCODING_PUBLIC || encoding == WARPKEM_ENCODING_PUBLIC_XWING;
}

}  // namespace

void add_private_form(Arguments& arguments, KeyEncodingOptions& options) {
  const auto parse = [&options](const std::string& text) {
    for (const std::uint32_t known : {WARPKEM_ENCODING_SEED, WARPKEM_ENCODING_EXPANDED, WARPKEM_ENCODING_BOTH}) {
      if (text != name_of_encoding(known)) continue;
      options.private_form = known;
      return std::string();
    }
    return std::string("seed, expanded or both");
  };
  arguments.text(
      "--private-form", "FORM",
      "Of ML-KEM's private keys (RFC 9935, Section 6): seed, expanded, or both. Seeds can become all three, an "
      "expanded dk only expanded (default: what the dk is)",
      parse);
}

void add_key_encoding(Arguments& arguments, KeyEncodingOptions& options) {
  add_private_form(arguments, options);
  arguments.flag("--x-wing-oid", options.x_wing_oid,
                 "MLKEM768-X25519: public keys under X-Wing's own OID in place of the composite's");
}

const char* name_of_encoding(std::uint32_t encoding) {
  constexpr const char* names[] = {"",     "public",    "public (X-Wing)", "seed",     "expanded",
                                   "both", "composite", "certificate",     "encrypted"};
  return encoding < std::size(names) ? names[encoding] : "";
}

std::uint32_t encoding_of(warpkem_algorithm algorithm, bool is_public, std::uint32_t dk_format,
                          const KeyEncodingOptions& options) {
  std::uint32_t encoding = 0;
  if (is_public) {
    if (options.private_form != 0) throw Error("--private-form is of private keys, and --ek gives public ones");
    encoding = options.x_wing_oid ? WARPKEM_ENCODING_PUBLIC_XWING : WARPKEM_ENCODING_PUBLIC;
  } else {
    encoding = dk_format == WARPKEM_DK_SEED        ? WARPKEM_ENCODING_SEED
               : dk_format == WARPKEM_DK_COMPOSITE ? WARPKEM_ENCODING_COMPOSITE
                                                   : WARPKEM_ENCODING_EXPANDED;
    if (options.private_form != 0) {
      if (dk_format != WARPKEM_DK_SEED && options.private_form != encoding) {
        throw Error(fmt::format("--private-form {}: {} {} dk has no seed; accepted: --dk-format seed, or seeds",
                                name_of_encoding(options.private_form), dk_format == WARPKEM_DK_EXPANDED ? "an" : "a",
                                name_of_dk_format(dk_format)));
      }
      encoding = options.private_form;
    }
    if (options.x_wing_oid) throw Error("--x-wing-oid is of public keys; private ones have it as seeds");
  }
  if (warpkem_encoded_bytes(algorithm, encoding) != 0) return encoding;
  throw Error(fmt::format("{} has no encoding of {} keys that others would know{}", warpkem_algorithm_name(algorithm),
                          name_of_encoding(encoding),
                          warpkem_encoded_bytes(algorithm, WARPKEM_ENCODING_COMPOSITE) != 0 && !is_public
                              ? "; accepted: --dk-format composite"
                              : ""));
}

KeyWriter::KeyWriter(warpkem_engine* engine, warpkem_algorithm algorithm, std::uint32_t encoding,
                     std::uint32_t dk_format, KeyFormat format, std::uint32_t threads)
    : engine_(engine),
      algorithm_(algorithm),
      encoding_(encoding),
      dk_format_(dk_format),
      format_(format),
      threads_(threads != WARPKEM_THREADS_AUTO ? threads : std::max(1u, std::thread::hardware_concurrency())),
      record_bytes_(is_public(encoding) ? warpkem_size(algorithm, WARPKEM_SIZE_EK) : dk_bytes(algorithm, dk_format)),
      der_bytes_(warpkem_encoded_bytes(algorithm, encoding)) {}

std::span<const std::uint8_t> KeyWriter::write(const Buffer& records, std::size_t count,
                                               std::vector<std::uint8_t>& statuses) {
  statuses.assign(count, WARPKEM_OK);
  std::vector<warpkem_decoded_key> keys(count);
  for (std::size_t i = 0; i < count; ++i) {
    keys[i].struct_size = sizeof keys[i];
    keys[i].algorithm = algorithm_;
    keys[i].encoding = encoding_;
    const std::uint8_t* const record = records.data() + i * record_bytes_;
    (is_public(encoding_)                 ? keys[i].ek
     : dk_format_ == WARPKEM_DK_EXPANDED  ? keys[i].expanded
     : dk_format_ == WARPKEM_DK_COMPOSITE ? keys[i].composite
                                          : keys[i].seed) = record;
  }
  check(warpkem_check_keys(engine_, count, keys.data(), statuses.data(), nullptr));
  return encode(records, count, statuses.data());
}

std::span<const std::uint8_t> KeyWriter::encode(const Buffer& records, std::size_t count,
                                                const std::uint8_t* statuses) {
  warpkem_in key{records.data(), count * record_bytes_, 0}, expanded{nullptr, 0, 0};
  const bool has_expanded = encoding_ == WARPKEM_ENCODING_EXPANDED || encoding_ == WARPKEM_ENCODING_BOTH;
  if (has_expanded && dk_format_ == WARPKEM_DK_SEED) {
    const std::size_t dk = warpkem_size(algorithm_, WARPKEM_SIZE_DK), ek = warpkem_size(algorithm_, WARPKEM_SIZE_EK);
    expanded_.grow(count * dk), ek_.grow(count * ek);
    check(warpkem_keygen_derand(engine_, algorithm_, WARPKEM_DK_EXPANDED, count, key, {ek_.data(), count * ek, 0},
                                {expanded_.data(), count * dk, 0}, nullptr, nullptr));
    (encoding_ == WARPKEM_ENCODING_BOTH ? expanded : key) = warpkem_in{expanded_.data(), count * dk, 0};
  }
  der_.grow(count * der_bytes_);
  check(warpkem_encode_keys(algorithm_, encoding_, count, key, expanded, {der_.data(), count * der_bytes_, 0}));
  // Those of records that failed go.
  std::size_t kept = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (statuses != nullptr && statuses[i] != WARPKEM_OK) continue;
    if (kept != i) std::memcpy(der_.data() + kept * der_bytes_, der_.data() + i * der_bytes_, der_bytes_);
    ++kept;
  }
  if (format_ == KeyFormat::der) return {der_.data(), kept * der_bytes_};
  const char* const label = is_public(encoding_) ? "PUBLIC KEY" : "PRIVATE KEY";
  const std::size_t chars = pem_block_chars(label, der_bytes_);
  text_.grow(kept * chars);
  const auto write_part = [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) {
      write_pem_block(label, der_.data() + i * der_bytes_, der_bytes_,
                      reinterpret_cast<char*>(text_.data() + i * chars));
    }
  };
  const std::size_t parts = std::min<std::size_t>(threads_, kept / 256 + 1);
  Threads helpers([] {});
  for (std::size_t p = 1; p < parts; ++p) {
    helpers.start("writing PEM", [&, p] { return std::thread(write_part, kept * p / parts, kept * (p + 1) / parts); });
  }
  write_part(0, kept / parts);
  helpers.join();
  return {text_.data(), kept * chars};
}

}  // namespace warpkem::tool
