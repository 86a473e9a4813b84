// Google Benchmark of keyfile.h: encoding batches, decoding objects of the fixed encodings and of those that OpenSSL
// reads, and the checks. Names: encode/ML-KEM-768/seed, check/ML-KEM-768/both/batch:1024 and so on.
#include <benchmark/benchmark.h>
#include <warpkem/keyfile.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t batch = 1024;
constexpr const char* names[] = {"", "public", "public-xwing", "seed", "expanded", "both", "composite"};

void must(warpkem_status status) {
  if (status == WARPKEM_OK) return;
  std::fprintf(stderr, "%s\n", warpkem_last_error());
  std::exit(1);
}

warpkem_engine* engine() {
  static warpkem_engine* const made = [] {
    warpkem_engine* one = nullptr;
    warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
    options.threads = 1;
    must(warpkem_engine_new(&options, &one));
    return one;
  }();
  return made;
}

// A batch of keys in one encoding.
struct Keys {
  Keys(warpkem_algorithm algorithm, std::uint32_t of) : encoding(of) {
    const std::uint32_t form = of == WARPKEM_ENCODING_COMPOSITE  ? WARPKEM_DK_COMPOSITE
                               : of == WARPKEM_ENCODING_EXPANDED ? WARPKEM_DK_EXPANDED
                                                                 : WARPKEM_DK_SEED;
    const std::size_t seed_bytes =
        warpkem_size(algorithm, form == WARPKEM_DK_COMPOSITE ? WARPKEM_SIZE_SEED_COMPOSITE : WARPKEM_SIZE_SEED);
    const std::size_t dk_bytes = warpkem_size(algorithm, form == WARPKEM_DK_COMPOSITE  ? WARPKEM_SIZE_DK_COMPOSITE
                                                         : form == WARPKEM_DK_EXPANDED ? WARPKEM_SIZE_DK
                                                                                       : WARPKEM_SIZE_DK_SEED);
    Bytes seeds(batch * seed_bytes), ek(batch * warpkem_size(algorithm, WARPKEM_SIZE_EK)), dk(batch * dk_bytes);
    for (std::size_t i = 0; i < seeds.size(); ++i) seeds[i] = static_cast<std::uint8_t>(i * i >> 3);
    must(warpkem_keygen_derand(engine(), algorithm, form, batch, {seeds.data(), seeds.size(), 0},
                               {ek.data(), ek.size(), 0}, {dk.data(), dk.size(), 0}, nullptr, nullptr));
    if (of == WARPKEM_ENCODING_BOTH) {
      expanded.resize(batch * warpkem_size(algorithm, WARPKEM_SIZE_DK));
      must(warpkem_keygen_derand(engine(), algorithm, WARPKEM_DK_EXPANDED, batch, {seeds.data(), seeds.size(), 0},
                                 {ek.data(), ek.size(), 0}, {expanded.data(), expanded.size(), 0}, nullptr, nullptr));
    }
    records = of <= WARPKEM_ENCODING_PUBLIC_XWING ? ek : dk;
    bytes = warpkem_encoded_bytes(algorithm, of);
    der.resize(batch * bytes);
    encode(algorithm);
  }

  void encode(warpkem_algorithm algorithm) {
    must(warpkem_encode_keys(algorithm, encoding, batch, {records.data(), records.size(), 0},
                             {expanded.empty() ? nullptr : expanded.data(), expanded.size(), 0},
                             {der.data(), der.size(), 0}));
  }
  std::vector<warpkem_decoded_key> decode() const {
    std::vector<warpkem_decoded_key> all(batch);
    for (std::size_t i = 0; i < batch; ++i) {
      all[i].struct_size = sizeof all[i];
      must(warpkem_decode_key(der.data() + i * bytes, bytes, &all[i]));
    }
    return all;
  }

  std::uint32_t encoding;
  std::size_t bytes;
  Bytes records, expanded, der;
};

void register_case(warpkem_algorithm algorithm, std::uint32_t encoding) {
  const std::string name = std::string("/") + warpkem_algorithm_name(algorithm) + "/" + names[encoding] + "/batch:1024";
  const auto add = [&](const char* what, auto work) {
    benchmark::RegisterBenchmark((what + name).c_str(), [=](benchmark::State& state) {
      Keys keys(algorithm, encoding);
      const auto decoded = keys.decode();
      for (auto _ : state) work(keys, decoded);
      state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(batch));
    });
  };
  using Decoded = std::vector<warpkem_decoded_key>;
  add("encode", [=](Keys& keys, const Decoded&) { keys.encode(algorithm); });
  add("decode", [](Keys& keys, const Decoded&) { benchmark::DoNotOptimize(keys.decode()); });
  // Version 1 in place of 0: as good, and no fixed encoding.
  if (encoding > WARPKEM_ENCODING_PUBLIC_XWING) {
    add("decode-der", [](Keys& keys, const Decoded&) {
      const std::size_t version = keys.der[1] < 0x80 ? 4 : keys.der[1] == 0x81 ? 5 : 6;
      for (std::size_t i = 0; i < batch; ++i) keys.der[i * keys.bytes + version] = 1;
      benchmark::DoNotOptimize(keys.decode());
    });
  }
  add("check", [](Keys&, const Decoded& decoded) {
    must(warpkem_check_keys(engine(), batch, decoded.data(), nullptr, nullptr));
  });
}

}  // namespace

int main(int argc, char** argv) {
  for (warpkem_algorithm algorithm = 1; warpkem_algorithm_name(algorithm) != nullptr; ++algorithm) {
    for (std::uint32_t encoding = 1; encoding <= WARPKEM_ENCODING_COMPOSITE; ++encoding) {
      if (warpkem_encoded_bytes(algorithm, encoding) != 0) register_case(algorithm, encoding);
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
