"""A thousand agreements: the ten lines of the README."""
# begin
import warpkem

with warpkem.Engine() as engine:
    pairs = engine.keygen("X-Wing", 1000, dk_format="seed").raise_for_status()
    sent = engine.encaps("X-Wing", pairs.ek).raise_for_status()  # .c (1000, 1120), .K (1000, 32), .status (1000,)
    received = engine.decaps("X-Wing", pairs.dk, sent.c, dk_format="seed").raise_for_status()
    assert (sent.K == received.K).all()
    for result in (pairs, sent, received):
        result.wipe()  # secrets become zeros; see SECURITY.md for what Python cannot promise
# end
