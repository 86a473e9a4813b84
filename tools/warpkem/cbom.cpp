// warpkem info --cbom: a cryptographic bill of materials, CycloneDX 1.6.
#include "tools/warpkem/cbom.hpp"

#include <string_view>
#include <vector>

#ifdef WARPKEM_TOOL_HAS_OPENSSL
#include <openssl/crypto.h>
#endif

namespace warpkem::tool {
namespace {

using Json = nlohmann::ordered_json;
using Names = std::vector<std::string_view>;

enum class By { warpkem, libcrypto };  // who implements it
#ifdef WARPKEM_TOOL_HAS_OPENSSL
constexpr bool has_libcrypto = true;
#else
constexpr bool has_libcrypto = false;
#endif

const char* platform() {
#if defined(__x86_64__) && !defined(__ILP32__)
  return "x86_64";
#elif defined(__aarch64__)
  return "armv8-a";
#else
  return "other";
#endif
}

struct Strength {
  int classical;  // bits
  int nist;       // category of NIST's; 0: a quantum computer breaks it
};
constexpr Strength unknown{0, 0};

class Bill {
 public:
  // `uses`: algorithms that are part of it.
  void algorithm(const std::string& name, const char* primitive, const Names& functions, Strength strength, By by,
                 const Names& uses = {}, const Json& more = Json::object(), const char* oid = nullptr) {
    Json properties = {{"primitive", primitive},
                       {"executionEnvironment", "software-plain-ram"},
                       {"implementationPlatform", platform()},
                       {"certificationLevel", {"none"}},
                       {"cryptoFunctions", functions}};
    if (strength.classical != 0) {
      properties["classicalSecurityLevel"] = strength.classical;
      properties["nistQuantumSecurityLevel"] = strength.nist;
    }
    properties.update(more);
    Json crypto = {{"assetType", "algorithm"}, {"algorithmProperties", std::move(properties)}};
    if (oid != nullptr) crypto["oid"] = oid;
    components_.push_back({{"type", "cryptographic-asset"},
                           {"bom-ref", reference(name)},
                           {"name", name},
                           {"cryptoProperties", std::move(crypto)}});
    Json parts = Json::array();
    for (const auto& part : uses) parts.push_back(reference(part));
    dependencies_.push_back({{"ref", reference(name)}, {"dependsOn", std::move(parts)}});
    (by == By::warpkem ? own_ : libcrypto_).push_back(reference(name));
  }

  // FIPS 203, Table 2 and Section 8. A hybrid is as strong as the stronger half.
  void kem(const warpkem_algorithm_info& info) {
    constexpr Strength strengths[] = {{128, 1}, {192, 3}, {256, 5}};
    const std::string_view ml_kem = warpkem_algorithm_name(info.ml_kem);
    Json more = {{"parameterSetIdentifier", ml_kem.substr(ml_kem.rfind('-') + 1)}};
    Names uses{"SHA3-256", "SHA3-512", "SHAKE128", "SHAKE256"};
    if (info.curve != nullptr) {
      const std::string_view curve = info.curve;
      more["curve"] = curve == "X25519" ? "Curve25519" : curve;
      uses = {ml_kem, curve == "P-256" ? "ECDH-P-256" : curve == "P-384" ? "ECDH-P-384" : curve};
      if (info.combines != 0) uses.insert(uses.end(), {"SHA3-256", "SHAKE256"});
    }
    algorithm(info.name, "kem", {"keygen", "encapsulate", "decapsulate"}, strengths[info.ml_kem - 1], By::warpkem, uses,
              more, info.oid);
  }

  Json finish(const Engine& engine) {
    Json properties = {{{"name", "warpkem:cpu-features"}, {"value", warpkem_cpu_features()}}};
    for (const auto& backend : engine.backends()) {
      const std::string detail = backend.detail != nullptr ? backend.detail : "";
      const std::string usable = backend.available == 0   ? "not available here"
                                 : backend.preferred != 0 ? "available, preferred"
                                                          : "available";
      properties.push_back({{"name", std::string("warpkem:backend:") + backend.name},
                            {"value", detail.empty() ? usable : usable + ": " + detail}});
    }
    Json uses = Json::array();
#ifdef WARPKEM_TOOL_HAS_OPENSSL
    components_.push_back({{"type", "library"},
                           {"bom-ref", "libcrypto"},
                           {"name", "libcrypto"},
                           {"version", OpenSSL_version(OPENSSL_VERSION_STRING)},
                           {"description", OpenSSL_version(OPENSSL_VERSION)}});
    dependencies_.push_back({{"ref", "libcrypto"}, {"dependsOn", Json::array()}, {"provides", libcrypto_}});
    uses.push_back("libcrypto");
#endif
    dependencies_.push_back({{"ref", "warpkem"}, {"dependsOn", std::move(uses)}, {"provides", own_}});
    return {{"$schema", "http://cyclonedx.org/schema/bom-1.6.schema.json"},
            {"bomFormat", "CycloneDX"},
            {"specVersion", "1.6"},
            {"version", 1},
            {"metadata",
             {{"component",
               {{"type", "library"},
                {"bom-ref", "warpkem"},
                {"name", "warpkem"},
                {"version", warpkem_version()},
                {"description", "Batch ML-KEM (FIPS 203) and hybrids of it"},
                {"properties", std::move(properties)}}}}},
            {"components", std::move(components_)},
            {"dependencies", std::move(dependencies_)}};
  }

 private:
  static std::string reference(std::string_view name) { return "algorithm:" + std::string(name); }

  Json components_ = Json::array(), dependencies_ = Json::array(), own_ = Json::array(), libcrypto_ = Json::array();
};

}  // namespace

Json cbom(const Engine& engine) {
  Bill bill;
  for (warpkem_algorithm id = 1; warpkem_algorithm_name(id) != nullptr; ++id) {
    const warpkem_algorithm_info info = describe(id);
    if (has_libcrypto || info.curve == nullptr || info.curve == std::string_view("X25519")) bill.kem(info);
  }
  bill.algorithm("X25519", "key-agree", {"keygen", "keyderive"}, {128, 0}, By::warpkem, {}, {{"curve", "Curve25519"}},
                 "1.3.101.110");
  bill.algorithm("SHA3-256", "hash", {"digest"}, {128, 2}, By::warpkem, {}, {{"parameterSetIdentifier", "256"}},
                 "2.16.840.1.101.3.4.2.8");
  bill.algorithm("SHA3-512", "hash", {"digest"}, {256, 5}, By::warpkem, {}, {{"parameterSetIdentifier", "512"}},
                 "2.16.840.1.101.3.4.2.10");
  bill.algorithm("SHAKE128", "xof", {"digest"}, {128, 1}, By::warpkem, {}, {{"parameterSetIdentifier", "128"}},
                 "2.16.840.1.101.3.4.2.11");
  bill.algorithm("SHAKE256", "xof", {"digest"}, {256, 5}, By::warpkem, {}, {{"parameterSetIdentifier", "256"}},
                 "2.16.840.1.101.3.4.2.12");
  if (has_libcrypto) {
    bill.algorithm("ECDH-P-256", "key-agree", {"keygen", "keyderive"}, {128, 0}, By::libcrypto, {},
                   {{"curve", "P-256"}});
    bill.algorithm("ECDH-P-384", "key-agree", {"keygen", "keyderive"}, {192, 0}, By::libcrypto, {},
                   {{"curve", "P-384"}});
    bill.algorithm("CTR_DRBG", "drbg", {"generate"}, {256, 5}, By::libcrypto);
    bill.algorithm("AES-256-GCM", "ae", {"encrypt", "decrypt", "tag"}, {256, 5}, By::libcrypto, {},
                   {{"parameterSetIdentifier", "256"}, {"mode", "gcm"}}, "2.16.840.1.101.3.4.1.46");
    // Encrypted key files are read, by whatever cipher they name that libcrypto has.
    bill.algorithm("PBES2", "other", {"decrypt"}, unknown, By::libcrypto, {}, Json::object(), "1.2.840.113549.1.5.13");
  }
  return bill.finish(engine);
}

}  // namespace warpkem::tool
