/* A hundred key agreements by X-Wing in three calls. The README shows the lines between the marks. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <warpkem/warpkem.h>

#define IN(array) \
  (warpkem_in) { array[0], sizeof array, 0 }
#define OUT(array) \
  (warpkem_out) { array[0], sizeof array, 0 }

int main(void) {
  // begin
  // IN(a) and OUT(a) say where an array lies: (warpkem_in){a[0], sizeof a, 0}
  static uint8_t ek[100][1216], dk[100][32], c[100][1120], K_sent[100][32], K_received[100][32];
  const warpkem_algorithm x_wing = WARPKEM_MLKEM768_X25519;
  warpkem_engine* engine;
  warpkem_status bad = warpkem_engine_new(NULL, &engine);
  if (!bad) bad = warpkem_keygen(engine, x_wing, WARPKEM_DK_SEED, 100, OUT(ek), OUT(dk), NULL, NULL);
  if (!bad) bad = warpkem_encaps(engine, x_wing, 100, IN(ek), OUT(c), OUT(K_sent), NULL, NULL);
  if (!bad) bad = warpkem_decaps(engine, x_wing, WARPKEM_DK_SEED, 100, IN(dk), IN(c), OUT(K_received), NULL, NULL);
  if (bad) fprintf(stderr, "%s: %s\n", warpkem_status_name(bad), warpkem_last_error());
  warpkem_engine_free(engine);
  // end
  return bad || memcmp(K_sent, K_received, sizeof K_sent) != 0;
}
