// Keys as DER: good objects of every encoding with edits, cut and lengthened. Nothing outside the object is read, what
// is accepted leads into it, and of a fixed encoding it is written back the same. The checks agree on every backend.
#include <warpkem/keyfile.h>

#include "tests/fuzz/fuzz.hpp"

using namespace warpkem::fuzz;

namespace {

struct Object {
  warpkem_algorithm algorithm;
  std::uint32_t encoding;
  Bytes der;
};

const std::vector<Object>& objects() {
  static const std::vector<Object>& all = *[] {
    auto& made = *new std::vector<Object>;
    for (std::uint8_t choice = 0; choice < 9; ++choice) {
      const Good& g = good(choice);
      for (std::uint32_t encoding = 1; encoding <= WARPKEM_ENCODING_COMPOSITE; ++encoding) {
        const std::size_t bytes = warpkem_encoded_bytes(g.algorithm, encoding);
        if (bytes == 0) continue;
        const bool is_public = encoding <= WARPKEM_ENCODING_PUBLIC_XWING, both = encoding == WARPKEM_ENCODING_BOTH;
        const Bytes& records = is_public                                ? g.ek
                               : encoding == WARPKEM_ENCODING_EXPANDED  ? g.dk[WARPKEM_DK_EXPANDED]
                               : encoding == WARPKEM_ENCODING_COMPOSITE ? g.dk[WARPKEM_DK_COMPOSITE]
                                                                        : g.dk[WARPKEM_DK_SEED];
        Bytes der(bytes);
        if (warpkem_encode_keys(g.algorithm, encoding, 1, in(records),
                                both ? in(g.dk[WARPKEM_DK_EXPANDED]) : warpkem_in{nullptr, 0, 0},
                                out(der)) != WARPKEM_OK) {
          die("no good object");
        }
        made.push_back({g.algorithm, encoding, der});
      }
    }
    return &made;
  }();
  return all;
}

void must_lead_into(const Bytes& der, const std::uint8_t* part, std::size_t bytes) {
  if (part == nullptr) return;
  if (part < der.data() || bytes == 0 || part + bytes > der.data() + der.size()) die("a part is not inside the object");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  Input input(data, bytes);
  Bytes der;
  if (input.byte() % 4 == 0) {  // the fuzzer's own
    while (!input.empty()) der.push_back(input.byte());
  } else {
    der = objects()[input.byte() % objects().size()].der;
    const std::size_t cut = input.word(), more = input.byte();
    if (cut < der.size()) der.resize(der.size() - cut);
    if (more > 200) der.resize(der.size() + more - 200);
    for (std::size_t edits = input.byte() % 4; edits != 0; --edits) {  // of the headers, where the rules are
      const std::size_t at = input.byte() % 64;
      const std::uint8_t value = input.byte();
      if (at < der.size()) der[at] = value;
    }
    input.edit(der);
  }
  der.shrink_to_fit();  // for AddressSanitizer to see what is behind it
  warpkem_decoded_key key{};
  key.struct_size = sizeof key;
  const warpkem_status status = warpkem_decode_key(der.data(), der.size(), &key);
  if (status != WARPKEM_OK) {
    if (status != WARPKEM_INVALID_ENCODING && status != WARPKEM_UNSUPPORTED) die("decode");
    if (key.error_at > der.size()) die("an error is behind the end");
    if (key.algorithm != 0 || key.ek != nullptr || key.seed != nullptr) die("a refused object has parts");
    return 0;
  }
  if (key.encoding == WARPKEM_ENCODING_ENCRYPTED) return 0;
  must_lead_into(der, key.ek, warpkem_size(key.algorithm, WARPKEM_SIZE_EK));
  must_lead_into(der, key.seed, warpkem_size(key.algorithm, WARPKEM_SIZE_DK_SEED));
  must_lead_into(der, key.expanded, warpkem_size(key.algorithm, WARPKEM_SIZE_DK));
  must_lead_into(der, key.composite, warpkem_size(key.algorithm, WARPKEM_SIZE_DK_COMPOSITE));
  const std::uint8_t* const part = key.seed != nullptr        ? key.seed
                                   : key.expanded != nullptr  ? key.expanded
                                   : key.composite != nullptr ? key.composite
                                                              : key.ek;
  if (warpkem_encoded_bytes(key.algorithm, key.encoding) == der.size()) {
    Bytes again(der.size());
    const warpkem_in whole{part, static_cast<std::size_t>(der.data() + der.size() - part), 0};
    const warpkem_in expanded{key.expanded, warpkem_size(key.algorithm, WARPKEM_SIZE_DK), 0};
    const bool both = key.encoding == WARPKEM_ENCODING_BOTH;
    if (warpkem_encode_keys(key.algorithm, key.encoding, 1, whole, both ? expanded : warpkem_in{nullptr, 0, 0},
                            out(again)) != WARPKEM_OK) {
      die("what was decoded is not encoded");
    }
    // Version 1 says that there may be a public key, not that there is one.
    const std::size_t version_at = (der[1] < 0x80 ? 2 : der[1] == 0x81 ? 3 : 4) + 2;
    if (key.ek == nullptr) again[version_at] = der[version_at];
    if (again != der) {
      die("what was decoded is encoded otherwise");
    }
  }
  std::uint8_t right = 0;
  for (auto backend = backends().rbegin(); backend != backends().rend(); ++backend) {
    std::uint8_t verdict = 0xee;
    const warpkem_status answer = warpkem_check_keys(backend->engine, 1, &key, &verdict, nullptr);
    if (answer != (verdict == WARPKEM_OK ? WARPKEM_OK : WARPKEM_ITEM_FAILED)) die("check");
    if (backend != backends().rbegin() && verdict != right) die("backends disagree on a key");
    right = verdict;
  }
  return 0;
}
