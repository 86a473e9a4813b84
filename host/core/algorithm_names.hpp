// How others call an algorithm.
#pragma once

#include <array>
#include <cstdint>

namespace warpkem::host {

struct AlgorithmNames {
  const char* name;
  const char* alias = nullptr;    // or null
  const char* oid = nullptr;      // dotted, or null
  std::uint16_t tls_number = 0;   // IANA's registry of TLS groups; 0: it is none
  std::uint16_t hpke_number = 0;  // IANA's registry of HPKE KEMs; 0: it is none
};

// NIST Computer Security Objects Register, id-alg-ml-kem-*; IANA.
inline constexpr std::array<AlgorithmNames, 3> names_of_ml_kem{
    {{"ML-KEM-512", "MLKEM512", "2.16.840.1.101.3.4.4.1", 512, 0x0040},
     {"ML-KEM-768", "MLKEM768", "2.16.840.1.101.3.4.4.2", 513, 0x0041},
     {"ML-KEM-1024", "MLKEM1024", "2.16.840.1.101.3.4.4.3", 514, 0x0042}}};

}  // namespace warpkem::host
