// Object identifiers of the algorithms, dotted. NIST Computer Security Objects Register, id-alg-ml-kem-*;
// draft-ietf-lamps-pq-composite-kem; draft-connolly-cfrg-xwing-kem.
#pragma once

namespace warpkem::host::oids {

inline constexpr const char* ml_kem_512 = "2.16.840.1.101.3.4.4.1";
inline constexpr const char* ml_kem_768 = "2.16.840.1.101.3.4.4.2";
inline constexpr const char* ml_kem_1024 = "2.16.840.1.101.3.4.4.3";
inline constexpr const char* mlkem768_x25519 = "1.3.6.1.5.5.7.6.58";
inline constexpr const char* mlkem768_p256 = "1.3.6.1.5.5.7.6.59";
inline constexpr const char* mlkem1024_p384 = "1.3.6.1.5.5.7.6.63";
inline constexpr const char* x_wing = "1.3.6.1.4.1.62253.25722";  // another one of MLKEM768-X25519

}  // namespace warpkem::host::oids
