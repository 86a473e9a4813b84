#include "host/api/arguments.hpp"

#include <string.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "host/core/operation.hpp"
#include "host/engine/key_set.hpp"

namespace warpkem::host {

namespace {

[[noreturn]] void refuse(const std::string& text) { throw Error(Status::invalid_argument, text); }

// One array of a call, whatever its type: what the overlap rules need to know.
struct Extent {
  const char* name;
  std::uintptr_t begin;
  std::size_t record, stride, count;
  bool is_output;
  const std::uint8_t* const* table;  // then begin and stride mean nothing

  std::uintptr_t end() const noexcept { return begin + (count - 1) * stride + record; }
};

class Extents {
 public:
  void add(const Extent& e) {
    extents_[size_++] = e;
    any_table_ = any_table_ || e.table != nullptr;
  }

  void check() const {
    for (std::size_t i = 0; i < size_; ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        const Extent &a = extents_[i], &b = extents_[j];
        if ((a.is_output || b.is_output) && a.table == nullptr && b.table == nullptr && overlap(a, b)) {
          refuse(std::string(a.name) + " overlaps " + b.name);
        }
      }
    }
    if (any_table_) check_records();
  }

 private:
  // An output may share its byte range with another array only with equal strides and records that share no byte.
  static bool overlap(const Extent& a, const Extent& b) noexcept {
    if (a.begin >= b.end() || b.begin >= a.end()) return false;
    if (a.stride != b.stride) return true;
    const std::size_t stride = a.stride;
    // Where b's records begin, counted from the last begin of one of a's.
    const std::size_t offset =
        b.begin >= a.begin ? (b.begin - a.begin) % stride : (stride - (a.begin - b.begin) % stride) % stride;
    return offset < a.record || offset + b.record > stride;
  }

  // The records of a table may lie anywhere: in order of address, an output ends before the next record begins.
  void check_records() const {
    struct Record {
      std::uintptr_t begin, end;
      const Extent* of;
      std::size_t item;
    };
    const auto is_whole = [](const Extent& e) { return e.table == nullptr && e.stride == e.record; };
    const std::span extents(extents_.data(), size_);
    std::size_t num_records = 0;
    for (const Extent& e : extents) num_records += is_whole(e) ? 1 : e.count;
    std::array<Record, 32> few;  // a request of one item needs no memory
    std::vector<Record> many(num_records > few.size() ? num_records : 0);
    const std::span<Record> records(many.empty() ? few.data() : many.data(), num_records);
    Record* next = records.data();
    for (const Extent& extent : extents) {
      if (is_whole(extent)) {
        *next++ = {extent.begin, extent.end(), &extent, 0};
        continue;
      }
      for (std::size_t i = 0; i < extent.count; ++i) {
        const std::uintptr_t begin = extent.table != nullptr ? reinterpret_cast<std::uintptr_t>(extent.table[i])
                                                             : extent.begin + i * extent.stride;
        *next++ = {begin, begin + extent.record, &extent, i};
      }
    }
    std::ranges::sort(records, {}, &Record::begin);
    // Inputs may overlap one another, so an input is held against the furthest output, and an output against all.
    const Record* furthest = nullptr;
    const Record* furthest_output = nullptr;
    for (const Record& r : records) {
      const Record* const other = r.of->is_output ? furthest : furthest_output;
      if (other != nullptr && other->end > r.begin) {
        refuse(std::string(r.of->name) + " of item " + std::to_string(r.item) + " overlaps " + other->of->name +
               " of item " + std::to_string(other->item));
      }
      if (furthest == nullptr || r.end > furthest->end) furthest = &r;
      if (r.of->is_output && (furthest_output == nullptr || r.end > furthest_output->end)) furthest_output = &r;
    }
  }

  std::array<Extent, 16> extents_;
  std::size_t size_ = 0;
  bool any_table_ = false;
};

void add_plain(Extents& extents, const char* name, const void* data, std::size_t bytes, bool is_output) {
  if (data == nullptr) return;
  extents.add({name, reinterpret_cast<std::uintptr_t>(data), bytes, bytes, 1, is_output, nullptr});
}

// Checks one array of a batch and translates it, in its place: many requests are of one item each.
template <class To, class From>
void check_array(To& to, const char* name, const From& from, std::size_t record, std::size_t count, Memory memory,
                 Extents& extents) {
  constexpr bool is_output = std::is_same_v<To, Out>;
  if (from.table != nullptr) {
    if (from.data != nullptr || from.bytes != 0 || from.stride != 0) {
      refuse(std::string(name) + ": either a table of pointers or data, bytes and stride, not both");
    }
    if (count > PTRDIFF_MAX / sizeof *from.table) refuse(std::string(name) + ": a table of that many items overflows");
    to.table = from.table;
    if (memory == Memory::device) return;
    for (std::size_t i = 0; i < count; ++i) {
      if (from.table[i] == nullptr) refuse(std::string(name) + " of item " + std::to_string(i) + " is NULL");
      if (reinterpret_cast<std::uintptr_t>(from.table[i]) > UINTPTR_MAX - record) {
        refuse(std::string(name) + " of item " + std::to_string(i) + " reaches past the end of memory");
      }
    }
    extents.add({name, 0, record, 0, count, is_output, from.table});
    add_plain(extents, "a table of pointers", from.table, count * sizeof *from.table, false);
    return;
  }
  if (from.data == nullptr) refuse(std::string(name) + " is NULL");
  const std::size_t stride = from.stride != 0 ? from.stride : record;
  if (stride < record) {
    refuse(std::string(name) + ": a stride of " + std::to_string(stride) + " bytes is below the record's " +
           std::to_string(record));
  }
  std::size_t end;
  const auto begin = reinterpret_cast<std::uintptr_t>(from.data);
  if (__builtin_mul_overflow(count - 1, stride, &end) || __builtin_add_overflow(end, record, &end) ||
      end > UINTPTR_MAX - begin) {
    refuse(std::string(name) + ": " + std::to_string(count) + " items " + std::to_string(stride) +
           " bytes apart overflow");
  }
  if (from.bytes < end) {
    refuse(std::string(name) + ": " + std::to_string(from.bytes) + " bytes given, but item " +
           std::to_string(count - 1) + " ends at byte " + std::to_string(end));
  }
  extents.add({name, begin, record, stride, count, is_output, nullptr});
  to.data = from.data;
  to.stride = stride;
}

// A courtesy: following such a pointer would end the process.
void refuse_device_memory(const Engine& engine, const char* name, const void* pointer) {
  if (!engine.is_device_pointer(pointer)) return;
  refuse(std::string(name) + " is device memory; batches there are for warpkem_cuda_run()");
}

constexpr warpkem_source warpkem_batch::*given_inputs[] = {&warpkem_batch::seeds, &warpkem_batch::m, &warpkem_batch::ek,
                                                           &warpkem_batch::dk, &warpkem_batch::c};
constexpr warpkem_target warpkem_batch::*given_outputs[] = {&warpkem_batch::ek_out, &warpkem_batch::dk_out,
                                                            &warpkem_batch::c_out, &warpkem_batch::K_out};

// The arrays of which anything is given. Without branches: most are not.
ArraySet given_arrays(const warpkem_batch& arguments) noexcept {
  ArraySet set;
  for_each_array(
      [&](Array a, const auto& g) {
        const auto pointers = reinterpret_cast<std::uintptr_t>(g.data) | reinterpret_cast<std::uintptr_t>(g.table);
        set.add(a, (pointers | g.bytes | g.stride) != 0);
      },
      arguments);
  return set;
}

[[noreturn]] void refuse_first_of(ArraySet set) {
  refuse(std::string(spec_of(set.pop_first()).member) + " does not belong to this call");
}

}  // namespace

Operation public_operation(std::uint32_t number) {
  if (!is_public(number)) throw Error(Status::unsupported, "operation " + std::to_string(number) + " is unknown");
  return static_cast<Operation>(number);
}

Batch checked_batch(const Engine& engine, const warpkem_batch& arguments, Operation operation, Memory memory) {
  const Algorithm* const algorithm = find_algorithm(arguments.algorithm);
  if (algorithm == nullptr) {
    throw Error(Status::unsupported, "algorithm " + std::to_string(arguments.algorithm) + " is unknown");
  }
  if (!engine.allows(arguments.algorithm)) {
    throw Error(Status::unsupported, std::string("the engine's policy does not allow ") + algorithm->name);
  }
  const auto dk_format = static_cast<DkFormat>(arguments.dk_format);
  if (arguments.dk_format != 0 && algorithm->dk_record(dk_format) == 0) {
    throw Error(Status::unsupported, "dk_format " + std::to_string(arguments.dk_format) + " is unknown");
  }
  if ((arguments.flags & ~WARPKEM_DERAND) != 0) refuse("flags: unknown bits in " + std::to_string(arguments.flags));

  const OperationSpec& spec = spec_of(operation);
  const bool derand = (arguments.flags & WARPKEM_DERAND) != 0;
  const bool prepared = arguments.keys != nullptr;
  const bool takes_format = spec.takes_dk_format && !prepared;

  if (derand && spec.drawn == Array::none) refuse("WARPKEM_DERAND is for keygen and encaps");
  if (!takes_format && arguments.dk_format != 0) refuse("dk_format does not belong to this operation");
  if (takes_format && algorithm->dk_record(dk_format) == 0) {
    throw Error(Status::unsupported,
                std::string(algorithm->name) + " has no dk_format " + std::to_string(arguments.dk_format));
  }
  if (prepared && !spec.takes_keys) refuse("keys do not belong to this operation");
  if (!prepared && arguments.index != nullptr) refuse("index is given without keys");
  const ArraySet wanted = spec.arrays(prepared, derand);
  if (const ArraySet foreign = given_arrays(arguments).without(wanted); !foreign.empty()) refuse_first_of(foreign);

  Batch batch;
  batch.operation = operation;
  batch.algorithm = arguments.algorithm;
  batch.dk_format = dk_format;
  batch.count = arguments.count;
  if (prepared) {
    KeySet* const keys = reinterpret_cast<KeySet*>(arguments.keys);
    if (!keys->belongs_to(&engine)) refuse("keys were prepared by another engine");
    if (keys->algorithm() != arguments.algorithm) refuse("keys are of another algorithm");
    if (keys->kind() != spec.key) {
      refuse(spec.key == Array::ek ? "keys are decapsulation keys; encaps needs encapsulation keys"
                                   : "keys are encapsulation keys; decaps needs decapsulation keys");
    }
    batch.keys = keys;
    batch.index = arguments.index;
  }
  if (memory == Memory::host) engine.require(kind_of(batch));
  if (batch.count == 0) return batch;

  Extents extents;
  const auto on_host = [&](const char* name, const void* pointer) {
    if (memory == Memory::host) refuse_device_memory(engine, name, pointer);
  };
  const auto check = [&](Array a, auto& to, const auto& from) {
    const char* const name = spec_of(a).name;
    on_host(name, from.data);
    on_host(name, from.table);
    check_array(to, name, from, record_bytes(*algorithm, a, dk_format), batch.count, memory, extents);
  };
  for (ArraySet left = wanted; !left.empty();) {
    const Array a = left.pop_first();
    if (spec_of(a).is_output) {
      check(a, batch.*output_of(a), arguments.*given_outputs[number_of_output(a)]);
    } else {
      check(a, batch.*input_of(a), arguments.*given_inputs[number_of_input(a)]);
    }
  }
  if (batch.count > SIZE_MAX / sizeof(std::uint32_t)) refuse("count overflows");
  on_host("index", batch.index), on_host("statuses", arguments.statuses), on_host("failed", arguments.failed);
  add_plain(extents, "index", batch.index, batch.count * sizeof(std::uint32_t), false);
  add_plain(extents, "statuses", arguments.statuses, batch.count, true);
  add_plain(extents, "failed", arguments.failed, sizeof(std::size_t), true);
  add_plain(extents, "items_by_backend", arguments.items_by_backend, WARPKEM_MAX_BACKENDS * sizeof(std::uint64_t),
            true);
  extents.check();
  batch.statuses = arguments.statuses;
  return batch;
}

namespace {

void check_hashed_bytes(const char* name, std::size_t bytes) {
  constexpr std::size_t most_bytes = std::size_t{1} << 16;
  if (bytes == 0 || bytes > most_bytes) {
    refuse(std::string(name) + ": " + std::to_string(bytes) + " is not from 1 to " + std::to_string(most_bytes));
  }
}

// `more_bytes` follow the parts in each message.
MessageParts add_parts(Extents& extents, std::size_t count, const std::uint8_t* prefix, std::size_t prefix_bytes,
                       std::size_t num_parts, const warpkem_in* parts, const std::size_t* part_bytes,
                       std::size_t more_bytes) {
  MessageParts result;
  std::size_t message_bytes = more_bytes;
  const auto add = [&](const In& items, std::size_t bytes) {
    check_hashed_bytes("bytes of a part", bytes);
    result.array[result.size++] = {items, bytes};
    message_bytes += bytes;
  };
  if (prefix_bytes != 0) {
    if (prefix == nullptr) refuse("prefix is NULL");
    add({prefix, 0, nullptr}, prefix_bytes);
    add_plain(extents, "prefix", prefix, prefix_bytes, false);
  }
  if (num_parts > MessageParts::most) {
    refuse("num_parts: " + std::to_string(num_parts) + " is more than " + std::to_string(MessageParts::most));
  }
  if (num_parts != 0 && (parts == nullptr || part_bytes == nullptr)) refuse("parts or part_bytes is NULL");
  for (std::size_t j = 0; j < num_parts; ++j) {
    In items;
    const warpkem_source from{parts[j].data, parts[j].bytes, parts[j].stride, nullptr};
    check_array(items, "a part", from, part_bytes[j], count, Memory::host, extents);
    add(items, part_bytes[j]);
  }
  check_hashed_bytes("bytes of a message", message_bytes);
  return result;
}

}  // namespace

Messages checked_messages(std::size_t count, const std::uint8_t* prefix, std::size_t prefix_bytes,
                          std::size_t num_parts, const warpkem_in* parts, const std::size_t* part_bytes,
                          const warpkem_out& digests, std::size_t digest_bytes) {
  Messages result;
  Extents extents;
  result.parts = add_parts(extents, count, prefix, prefix_bytes, num_parts, parts, part_bytes, 0);
  check_hashed_bytes("digest_bytes", digest_bytes);
  const warpkem_target to{digests.data, digests.bytes, digests.stride, nullptr};
  check_array(result.digests, "digests", to, digest_bytes, count, Memory::host, extents);
  extents.check();
  return result;
}

MessageParts checked_parts_of_m(const Batch& encaps, const std::uint8_t* prefix, std::size_t prefix_bytes,
                                std::size_t num_parts, const warpkem_in* parts, const std::size_t* part_bytes,
                                const std::size_t* failed) {
  Extents extents;
  const MessageParts result =
      add_parts(extents, encaps.count, prefix, prefix_bytes, num_parts, parts, part_bytes, h_bytes);
  if (result.size == 0) refuse("prefix and parts: none is given, and m would not be secret");
  const Algorithm& algorithm = *find_algorithm(encaps.algorithm);
  const auto add_output = [&](const char* name, const Out& out, std::size_t record) {
    extents.add({name, reinterpret_cast<std::uintptr_t>(out.data), record, out.stride, encaps.count, true, nullptr});
  };
  add_output("c", encaps.c_out, algorithm.c_bytes);
  add_output("K", encaps.K_out, algorithm.K_bytes);
  add_plain(extents, "statuses", encaps.statuses, encaps.count, true);
  add_plain(extents, "failed", failed, sizeof *failed, true);
  extents.check();
  return result;
}

Engine::GcmBatch checked_gcm(bool seals, std::size_t count, const warpkem_in& key, const warpkem_in& nonce,
                             const warpkem_in& aad, std::size_t aad_bytes, const warpkem_in& from,
                             std::size_t text_bytes, const warpkem_out& to, std::uint8_t* statuses,
                             std::size_t* failed) {
  constexpr std::size_t most_bytes = std::size_t{1} << 30;
  if (aad_bytes > most_bytes) refuse("aad_bytes: " + std::to_string(aad_bytes) + " is more than 2^30");
  if (text_bytes > most_bytes) refuse("text_bytes: " + std::to_string(text_bytes) + " is more than 2^30");
  Engine::GcmBatch batch;
  batch.seals = seals;
  batch.count = count, batch.aad_bytes = aad_bytes, batch.text_bytes = text_bytes;
  batch.statuses = statuses;
  Extents extents;
  const auto check_in = [&](In& items, const char* name, const warpkem_in& given, std::size_t record) {
    if (record == 0) return;
    const bool is_for_all = given.stride == WARPKEM_ONE_FOR_ALL;
    const warpkem_source source{given.data, given.bytes, is_for_all ? 0 : given.stride, nullptr};
    check_array(items, name, source, record, is_for_all ? 1 : count, Memory::host, extents);
    if (is_for_all) items.stride = 0;
  };
  const std::size_t sealed_bytes = text_bytes + Engine::gcm_tag_bytes;
  check_in(batch.key, "key", key, Engine::gcm_key_bytes);
  check_in(batch.nonce, "nonce", nonce, Engine::gcm_nonce_bytes);
  if (seals && count > 1 && batch.key.stride == 0 && batch.nonce.stride == 0) {
    refuse("key and nonce are both one for all: a key must not seal two texts with one nonce");
  }
  check_in(batch.aad, "aad", aad, aad_bytes);
  check_in(batch.from, seals ? "text" : "sealed", from, seals ? text_bytes : sealed_bytes);
  if (const std::size_t record = seals ? sealed_bytes : text_bytes; record != 0) {
    const warpkem_target target{to.data, to.bytes, to.stride, nullptr};
    check_array(batch.to, seals ? "sealed" : "text", target, record, count, Memory::host, extents);
  }
  add_plain(extents, "statuses", statuses, count, true);
  add_plain(extents, "failed", failed, sizeof(std::size_t), true);
  extents.check();
  return batch;
}

Derivation checked_derivation(const warpkem_in& ikm, std::size_t ikm_bytes, const warpkem_out& seeds,
                              std::size_t seed_bytes, std::size_t count) {
  constexpr std::size_t most_ikm_bytes = std::size_t{1} << 16;
  if (ikm_bytes == 0 || ikm_bytes > most_ikm_bytes) {
    refuse("ikm_bytes: " + std::to_string(ikm_bytes) + " is not from 1 to " + std::to_string(most_ikm_bytes));
  }
  Derivation result;
  Extents extents;
  const warpkem_source from{ikm.data, ikm.bytes, ikm.stride, nullptr};
  const warpkem_target to{seeds.data, seeds.bytes, seeds.stride, nullptr};
  check_array(result.ikm, "ikm", from, ikm_bytes, count, Memory::host, extents);
  check_array(result.seeds, "seeds", to, seed_bytes, count, Memory::host, extents);
  extents.check();
  return result;
}

Encoding checked_encoding(const FixedEncoding& encoding, std::size_t count, const warpkem_in& key,
                          const warpkem_in& expanded, const warpkem_out& der) {
  Encoding result;
  Extents extents;
  const auto check = [&](auto& to, const char* name, const auto& from, std::size_t record) {
    check_array(to, name, from, record, count, Memory::host, extents);
  };
  check(result.key, "key", warpkem_source{key.data, key.bytes, key.stride, nullptr}, encoding.first_bytes);
  if (encoding.second_bytes != 0) {
    check(result.expanded, "expanded", warpkem_source{expanded.data, expanded.bytes, expanded.stride, nullptr},
          encoding.second_bytes);
  } else if (expanded.data != nullptr || expanded.bytes != 0 || expanded.stride != 0) {
    refuse("expanded is of no use to this encoding");
  }
  check(result.der, "der", warpkem_target{der.data, der.bytes, der.stride, nullptr}, encoding.bytes());
  extents.check();
  return result;
}

DecodedKey checked_key(const warpkem_decoded_key* keys, std::size_t i) {
  const std::size_t stride = keys->struct_size;
  check_struct_size(stride, known_struct<warpkem_decoded_key>, "keys");
  warpkem_decoded_key known{};
  const auto* const given = reinterpret_cast<const std::uint8_t*>(keys) + i * stride;
  copy_struct(&known, given, known_struct<warpkem_decoded_key>, "keys");
  if (known.struct_size != stride) refuse("key " + std::to_string(i) + " has another struct_size than the first");
  const bool holds_a_key =
      known.ek != nullptr || known.seed != nullptr || known.expanded != nullptr || known.composite != nullptr;
  if (!holds_a_key && known.encoding != WARPKEM_ENCODING_ENCRYPTED) {
    refuse("key " + std::to_string(i) + " was not decoded");
  }
  const Algorithm* const algorithm = find_algorithm(known.algorithm);
  const auto has = [&](const std::uint8_t* part, DkFormat format) {
    return part == nullptr || (algorithm != nullptr && algorithm->dk_record(format) != 0);
  };
  if ((holds_a_key && algorithm == nullptr) || !has(known.expanded, DkFormat::expanded) ||
      !has(known.composite, DkFormat::composite) || !has(known.seed, DkFormat::seed)) {
    refuse("key " + std::to_string(i) + " holds what its algorithm does not have");
  }
  return {.algorithm = known.algorithm,
          .encoding = static_cast<KeyEncoding>(known.encoding),
          .ek = known.ek,
          .seed = known.seed,
          .expanded = known.expanded,
          .composite = known.composite};
}

void check_struct_size(std::size_t given_bytes, const KnownStruct& known, const char* name) {
  constexpr std::size_t most = 4096;
  if (given_bytes == known.bytes) return;
  if (given_bytes < sizeof given_bytes) {
    refuse(std::string(name) + ".struct_size of " + std::to_string(given_bytes) + " is too small");
  }
  const bool ends_inside = given_bytes < known.bytes && std::ranges::find(known.ends, given_bytes) == known.ends.end();
  if (ends_inside || given_bytes % known.alignment != 0 || given_bytes > most) {
    refuse(std::string(name) + ".struct_size of " + std::to_string(given_bytes) + " is no version's");
  }
}

void copy_struct(void* to, const void* given, const KnownStruct& known, const char* name) {
  std::size_t given_bytes;
  memcpy(&given_bytes, given, sizeof given_bytes);
  check_struct_size(given_bytes, known, name);
  const auto* const bytes = static_cast<const std::uint8_t*>(given);
  for (std::size_t i = known.bytes; i < given_bytes; ++i) {
    if (bytes[i] != 0) {
      refuse(std::string(name) + ": byte " + std::to_string(i) + " is set, which this version does not know");
    }
  }
  memcpy(to, given, std::min(known.bytes, given_bytes));
}

void clear_out_struct(void* given, const KnownStruct& known, const char* name) {
  std::size_t given_bytes;
  memcpy(&given_bytes, given, sizeof given_bytes);
  if (given_bytes < known.bytes) {
    refuse(std::string(name) + ".struct_size of " + std::to_string(given_bytes) + " is too small");
  }
  check_struct_size(given_bytes, known, name);
  memset(static_cast<std::uint8_t*>(given) + sizeof given_bytes, 0, given_bytes - sizeof given_bytes);
}

}  // namespace warpkem::host
