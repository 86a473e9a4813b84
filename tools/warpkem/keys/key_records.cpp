#include "tools/warpkem/keys/key_records.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

namespace warpkem::tool {

std::string KeyFailure::text() const {
  return fmt::format("object {} at byte offset {}: {} ({}): {}", number, offset, warpkem_status_name(status), status,
                     rule);
}

KeyRecords::KeyRecords(Input& input, KeyFormat format, std::uint32_t threads, Passphrase& passphrase,
                       const KeyWish& wish)
    : stream_(input, format, threads, passphrase), wish_(wish) {
  const auto may_tell = [](const Sample& sample) { return sample.bytes >= 16; };
  if (const std::string wrapping = proven_wrapping(input.peek(may_tell)); !wrapping.empty()) {
    throw Error(fmt::format("{}: is {}", input.label(), wrapping));
  }
  // Only as far as the first chunk with a key of an algorithm: what is in it is read again by read().
  const bool has_any = stream_.next();
  if (wish_.algorithm == 0 || (!wish_.is_public && wish_.dk_format == dk_format_by_default)) {
    const KeyObject* first = nullptr;
    stream_.each(0, stream_.count(), [&](const KeyObject& object) {
      if (first != nullptr || object.status != WARPKEM_OK || object.key.algorithm == 0) return;
      const bool is_private =
          object.key.seed != nullptr || object.key.expanded != nullptr || object.key.composite != nullptr;
      if ((wish_.algorithm == 0 || wish_.algorithm == object.key.algorithm) && is_private != wish_.is_public)
        first = &object;
    });
    if (first != nullptr) wish_.algorithm = first->key.algorithm;
    if (wish_.algorithm == 0) {
      std::string why =
          has_any ? "no key among the first objects tells the parameter set" : "holds no key in PEM or DER";
      if (has_any && !stream_.at(0).error.empty()) why += "; " + fault_of_first();
      throw Error(fmt::format("{}: {}; --param says it", input.label(), why));
    }
    if (!wish_.is_public && wish_.dk_format == dk_format_by_default && first != nullptr && is_hybrid(wish_.algorithm)) {
      wish_.dk_format = first->key.composite != nullptr ? WARPKEM_DK_COMPOSITE : WARPKEM_DK_SEED;
    }
  }
  if (!wish_.is_public) wish_.dk_format = dk_format_of(wish_.algorithm, wish_.dk_format);
  record_bytes_ =
      wish_.is_public ? warpkem_size(wish_.algorithm, WARPKEM_SIZE_EK) : dk_bytes(wish_.algorithm, wish_.dk_format);
}

bool KeyRecords::begins_well() {
  bool found = false;
  stream_.each(0, stream_.count(),
               [&](const KeyObject& object) { found = found || (object.status == WARPKEM_OK && fits(object.key)); });
  return found;
}

std::string KeyRecords::fault_of_first() {
  if (is_empty()) return "";
  const KeyObject& object = stream_.at(0);
  const bool is_readable = object.status == WARPKEM_OK;
  return KeyFailure{0, object.offset, is_readable ? static_cast<std::uint8_t>(WARPKEM_UNSUPPORTED) : object.status,
                    is_readable ? why_it_does_not_fit(object.key) : object.error}
      .text();
}

// The part of a key that is the record; null: it has to be made of its seed, or there is none.
const std::uint8_t* KeyRecords::part_of(const warpkem_decoded_key& key) const {
  if (wish_.is_public) return key.ek;
  switch (wish_.dk_format) {
    case WARPKEM_DK_SEED:
      return key.seed;
    case WARPKEM_DK_COMPOSITE:
      return key.composite;
    default:
      return key.expanded;
  }
}

bool KeyRecords::fits(const warpkem_decoded_key& key) const {
  if (key.algorithm != wish_.algorithm) return false;
  const bool is_private = key.seed != nullptr || key.expanded != nullptr || key.composite != nullptr;
  if (is_private == wish_.is_public) return false;
  return part_of(key) != nullptr || (!wish_.is_public && wish_.dk_format == WARPKEM_DK_EXPANDED && key.seed != nullptr);
}

std::string KeyRecords::why_it_does_not_fit(const warpkem_decoded_key& key) const {
  const char* const wanted = warpkem_algorithm_name(wish_.algorithm);
  if (key.algorithm == 0) return "is encrypted twice";
  const char* const found = warpkem_algorithm_name(key.algorithm);
  if (key.algorithm != wish_.algorithm) return fmt::format("a key of {}, where those of {} are read", found, wanted);
  const bool is_private = key.seed != nullptr || key.expanded != nullptr || key.composite != nullptr;
  if (is_private == wish_.is_public) {
    return is_private ? "a private key, where public ones are read" : "a public key, where private ones are read";
  }
  return fmt::format("a private key without the {} form, which is asked for", name_of_dk_format(wish_.dk_format));
}

void KeyRecords::check_keys(warpkem_engine* engine, const std::vector<KeyObject*>& objects) {
  std::vector<warpkem_decoded_key> keys;
  keys.reserve(objects.size());
  for (const KeyObject* const object : objects) keys.push_back(object->key);
  std::vector<std::uint8_t> statuses(keys.size());
  check(warpkem_check_keys(engine, keys.size(), keys.data(), statuses.data(), nullptr));
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (statuses[i] == WARPKEM_OK) continue;
    objects[i]->status = statuses[i];
    objects[i]->error = meaning_of(statuses[i]);
  }
}

void KeyRecords::expand(warpkem_engine* engine, const std::vector<const std::uint8_t*>& seeds,
                        const std::vector<std::uint8_t*>& to) {
  const Buffer ek(seeds.size() * warpkem_size(wish_.algorithm, WARPKEM_SIZE_EK));
  warpkem_batch batch{};
  batch.struct_size = sizeof batch;
  batch.operation = WARPKEM_OP_KEYGEN;
  batch.algorithm = wish_.algorithm;
  batch.dk_format = WARPKEM_DK_EXPANDED;
  batch.flags = WARPKEM_DERAND;
  batch.count = seeds.size();
  batch.seeds.table = seeds.data();
  batch.ek_out = {ek.data(), ek.size(), 0, nullptr};
  batch.dk_out.table = to.data();
  check(warpkem_run(engine, &batch));
}

std::size_t KeyRecords::read(warpkem_engine* engine, Buffer& records, std::vector<std::uint8_t>& statuses,
                             std::size_t count, const std::function<void(const KeyFailure&)>& failed) {
  statuses.clear();
  std::vector<KeyObject*> good;
  std::vector<const std::uint8_t*> seeds;
  std::vector<std::uint8_t*> expanded;
  while (statuses.size() < count) {
    if (next_ == stream_.count()) {
      next_ = 0;
      if (!stream_.next()) break;
    }
    const std::size_t last = std::min(stream_.count(), next_ + count - statuses.size());
    records.grow((statuses.size() + last - next_) * record_bytes_);
    good.clear(), seeds.clear(), expanded.clear();
    stream_.each(next_, last, [&](KeyObject& object) {
      if (object.status != WARPKEM_OK) return;
      if (fits(object.key)) return good.push_back(&object);
      object.status = WARPKEM_UNSUPPORTED;
      object.error = why_it_does_not_fit(object.key);
    });
    if (!good.empty()) check_keys(engine, good);
    stream_.each(next_, last, [&](const KeyObject& object) {
      std::uint8_t* const record = records.data() + statuses.size() * record_bytes_;
      statuses.push_back(object.status);
      if (object.status != WARPKEM_OK) {
        std::memset(record, 0xff, record_bytes_);
        failed({objects_read_, object.offset, object.status, object.error});
      } else if (const std::uint8_t* const part = part_of(object.key); part != nullptr) {
        std::memcpy(record, part, record_bytes_);
      } else {
        seeds.push_back(object.key.seed);
        expanded.push_back(record);
      }
      ++objects_read_;
    });
    if (!seeds.empty()) expand(engine, seeds, expanded);
    next_ = last;
  }
  return statuses.size();
}

std::optional<std::uint64_t> KeyRecords::expected() const {
  const auto all = stream_.bytes_in_all();
  const std::uint64_t read = objects_read_ + stream_.count() - next_, bytes = stream_.bytes_done();
  if (!all || bytes == 0) return std::nullopt;
  return static_cast<std::uint64_t>(static_cast<double>(read) * static_cast<double>(*all) / static_cast<double>(bytes));
}

}  // namespace warpkem::tool
