// What jobs of bulk data call: encapsulations whose m is derived from a row's id, beside those with a given m, and
// AES-256-GCM, as they wrap content keys: 32 bytes each with 20 bytes of associated data, under a key for each or one
// for all.
#include <benchmark/benchmark.h>
#include <warpkem/warpkem.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr std::size_t batch = 16384, text_bytes = 32, aad_bytes = 20, sealed_bytes = text_bytes + 16;

void wrap(benchmark::State& state, bool seals, bool one_key, std::uint32_t threads) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.threads = threads;
  warpkem_engine* engine = nullptr;
  if (warpkem_engine_new(&options, &engine) != WARPKEM_OK) return state.SkipWithError(warpkem_last_error());
  std::vector<std::uint8_t> keys(batch * 32), nonces(batch * 12), aad(batch * aad_bytes), text(batch * text_bytes),
      sealed(batch * sealed_bytes);
  for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<std::uint8_t>(i * 7 + (i >> 8));
  for (std::size_t i = 0; i < batch; ++i) memcpy(&nonces[12 * i], &i, sizeof i);
  const auto array = [](const std::vector<std::uint8_t>& bytes) { return warpkem_in{bytes.data(), bytes.size(), 0}; };
  const warpkem_in key{keys.data(), keys.size(), one_key ? WARPKEM_ONE_FOR_ALL : 0};
  const auto seal = [&] {
    return warpkem_aes256_gcm_seal(engine, batch, key, array(nonces), array(aad), aad_bytes, array(text), text_bytes,
                                   {sealed.data(), sealed.size(), 0});
  };
  const auto open = [&] {
    return warpkem_aes256_gcm_open(engine, batch, key, array(nonces), array(aad), aad_bytes, array(sealed), text_bytes,
                                   {text.data(), text.size(), 0}, nullptr, nullptr);
  };
  warpkem_status status = seal();
  for (auto _ : state) {
    if (status != WARPKEM_OK) {
      state.SkipWithError(warpkem_last_error());
      break;
    }
    status = seals ? seal() : open();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(batch));
  warpkem_engine_free(engine);
}

void encaps(benchmark::State& state, bool derives, std::uint32_t threads) {
  constexpr warpkem_algorithm algorithm = WARPKEM_ML_KEM_768;
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.threads = threads;
  warpkem_engine* engine = nullptr;
  if (warpkem_engine_new(&options, &engine) != WARPKEM_OK) return state.SkipWithError(warpkem_last_error());
  const auto records = [](std::uint32_t kind) {
    return std::vector<std::uint8_t>(batch * warpkem_size(algorithm, kind));
  };
  const auto in = [](const std::vector<std::uint8_t>& bytes) { return warpkem_in{bytes.data(), bytes.size(), 0}; };
  const auto out = [](std::vector<std::uint8_t>& bytes) { return warpkem_out{bytes.data(), bytes.size(), 0}; };
  std::vector<std::uint8_t> ek = records(WARPKEM_SIZE_EK), dk = records(WARPKEM_SIZE_DK), c = records(WARPKEM_SIZE_C),
                            K = records(WARPKEM_SIZE_K), m = records(WARPKEM_SIZE_M), ids(batch * 10);
  for (std::size_t i = 0; i < batch; ++i) memcpy(&ids[10 * i], &i, sizeof i), memcpy(&m[32 * i], &i, sizeof i);
  const std::vector<std::uint8_t> prefix(160, 7);
  const std::size_t id_bytes = 10;
  warpkem_status status =
      warpkem_keygen(engine, algorithm, WARPKEM_DK_EXPANDED, batch, out(ek), out(dk), nullptr, nullptr);
  for (auto _ : state) {
    if (status != WARPKEM_OK) {
      state.SkipWithError(warpkem_last_error());
      break;
    }
    const warpkem_in parts = in(ids);
    status = derives ? warpkem_encaps_derived(engine, algorithm, batch, prefix.data(), prefix.size(), 1, &parts,
                                              &id_bytes, in(ek), out(c), out(K), nullptr, nullptr)
                     : warpkem_encaps_derand(engine, algorithm, batch, in(ek), in(m), out(c), out(K), nullptr, nullptr);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(batch));
  warpkem_engine_free(engine);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  for (const bool seals : {true, false}) {
    for (const bool one_key : {false, true}) {
      for (const std::uint32_t threads : {1u, 2u}) {
        const std::string name = std::string(seals ? "seal" : "open") + "/AES-256-GCM/batch:" + std::to_string(batch) +
                                 "/threads:" + std::to_string(threads) + (one_key ? "/one_key" : "");
        benchmark::RegisterBenchmark(name.c_str(), wrap, seals, one_key, threads)->UseRealTime();
      }
    }
  }
  for (const bool derives : {true, false}) {
    for (const std::uint32_t threads : {1u, 2u}) {
      const std::string name = std::string(derives ? "encaps_derived" : "encaps_derand") +
                               "/ML-KEM-768/batch:" + std::to_string(batch) + "/threads:" + std::to_string(threads);
      benchmark::RegisterBenchmark(name.c_str(), encaps, derives, threads)->UseRealTime();
    }
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
