/* Two parties agree on a secret. */
#include <stdio.h>
#include <string.h>
#include <warpkem/warpkem.h>

int main(void) {
  enum { n = 10 };
  static uint8_t ek[n][1184], dk[n][2400], c[n][1088], K[n][32], K_again[n][32];
  const warpkem_out ek_out = {ek[0], sizeof ek, 0}, dk_out = {dk[0], sizeof dk, 0}, c_out = {c[0], sizeof c, 0},
                    K_out = {K[0], sizeof K, 0}, K_again_out = {K_again[0], sizeof K_again, 0};
  const warpkem_in ek_in = {ek[0], sizeof ek, 0}, dk_in = {dk[0], sizeof dk, 0}, c_in = {c[0], sizeof c, 0};
  warpkem_engine* engine;
  if (strcmp(warpkem_version(), WARPKEM_VERSION_STRING) != 0) return puts("header and library differ"), 1;
  if (warpkem_engine_new(NULL, &engine) ||
      warpkem_keygen(engine, WARPKEM_ML_KEM_768, WARPKEM_DK_EXPANDED, n, ek_out, dk_out, NULL, NULL) ||
      warpkem_encaps(engine, WARPKEM_ML_KEM_768, n, ek_in, c_out, K_out, NULL, NULL) ||
      warpkem_decaps(engine, WARPKEM_ML_KEM_768, WARPKEM_DK_EXPANDED, n, dk_in, c_in, K_again_out, NULL, NULL)) {
    return puts(warpkem_last_error()), 1;
  }
  warpkem_engine_free(engine);
  return memcmp(K, K_again, sizeof K) != 0;
}
