"""Byte for byte against other implementations, and against the C tool."""
import os
import subprocess

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import mlkem
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from kyber_py.ml_kem import ML_KEM_512, ML_KEM_768, ML_KEM_1024

import warpkem
from conftest import LONG, random_bytes

KYBER_PY = {"ML-KEM-512": ML_KEM_512, "ML-KEM-768": ML_KEM_768, "ML-KEM-1024": ML_KEM_1024}
PYCA = {"ML-KEM-768": (mlkem.MLKEM768PrivateKey, mlkem.MLKEM768PublicKey),
        "ML-KEM-1024": (mlkem.MLKEM1024PrivateKey, mlkem.MLKEM1024PublicKey)}


@pytest.mark.parametrize("name", KYBER_PY)
def test_kyber_py_gives_the_same_bytes(engine, name):
    other, number = KYBER_PY[name], 8
    seeds, m = random_bytes(1, number, 64), random_bytes(2, number, 32)
    pairs = engine.keygen_derand(name, seeds)
    sent = engine.encaps_derand(name, pairs.ek, m)
    wrong = sent.c.copy()
    wrong[:, 5] ^= 1
    received, rejected = engine.decaps(name, pairs.dk, sent.c), engine.decaps(name, seeds, wrong, dk_format="seed")
    for i in range(number):
        ek, dk = other._keygen_internal(seeds[i, :32].tobytes(), seeds[i, 32:].tobytes())
        assert (ek, dk) == (pairs.ek[i].tobytes(), pairs.dk[i].tobytes())
        assert other._encaps_internal(ek, m[i].tobytes()) == (sent.K[i].tobytes(), sent.c[i].tobytes())
        assert other.decaps(dk, sent.c[i].tobytes()) == received.K[i].tobytes()
        assert other.decaps(dk, wrong[i].tobytes()) == rejected.K[i].tobytes()


@pytest.mark.parametrize("name", PYCA)
def test_cryptography_gives_the_same_bytes(engine, name):
    private, public = PYCA[name]
    seeds = random_bytes(3, 50, 64)
    pairs = engine.keygen_derand(name, seeds)
    sent = engine.encaps(name, pairs.ek)
    for i in range(50):
        key = private.from_seed_bytes(seeds[i].tobytes())
        assert key.public_key().public_bytes_raw() == pairs.ek[i].tobytes()
        assert key.decapsulate(sent.c[i].tobytes()) == sent.K[i].tobytes()
        K, c = public.from_public_bytes(pairs.ek[i].tobytes()).encapsulate()
        assert engine.decaps(name, pairs.dk[i].tobytes(), c).K == K


def test_many_texts_are_sealed_and_opened_at_once(engine):
    for count, aad_bytes, text_bytes in ((0, 5, 32), (1, 0, 32), (3, 20, 0), (150, 33, 100)):
        key, nonce, aad, text = (random_bytes(i, count, size) for i, size in enumerate((32, 12, aad_bytes, text_bytes)))
        sealed = engine.aes256_gcm_seal(key, nonce, aad, text)
        assert sealed.shape == (count, text_bytes + 16)
        for i in range(count):
            assert sealed[i].tobytes() == AESGCM(key[i].tobytes()).encrypt(nonce[i].tobytes(), text[i].tobytes(), aad[i].tobytes())
        opened = engine.aes256_gcm_open(key, nonce, aad, sealed)
        assert (opened.text == text).all() and opened.ok and opened.status.shape == (count,)
    # Bytes are the same for all rows, or one item.
    rows = [random_bytes(i, 6, size) for i, size in enumerate((32, 12, 20, 32))]
    for i, row in enumerate(rows):
        given = [one if i != j else row[0].tobytes() for j, one in enumerate(rows)]
        every = [one if i != j else np.repeat(row[:1], 6, 0) for j, one in enumerate(rows)]
        sealed = engine.aes256_gcm_seal(*given)
        assert (sealed == engine.aes256_gcm_seal(*every)).all()
        assert (engine.aes256_gcm_open(*given[:3], sealed).text == every[3]).all()
    single = [row[2].tobytes() for row in rows]
    sealed = engine.aes256_gcm_seal(*single)
    assert sealed == AESGCM(single[0]).encrypt(single[1], single[3], single[2])
    assert engine.aes256_gcm_open(*single[:3], sealed) == (single[3], 0)
    assert engine.aes256_gcm_open(*single[:3], sealed[:-1] + b"x").status == warpkem.Status.INVALID_TAG
    # Rows of any stride, and the caller's arrays: a nonce before each.
    records = np.zeros((6, 12 + 48 + 5), np.uint8)
    records[:, :12] = rows[1]
    found = engine.aes256_gcm_seal(rows[0], records[:, :12], rows[2], rows[3], out=records[:, 12:60])
    assert found.base is not None and (found == engine.aes256_gcm_seal(*rows)).all() and not records[:, 60:].any()
    kept, text = [row.copy() for row in rows], np.ones((6, 32), np.uint8)
    assert (engine.aes256_gcm_seal(rows[0][::-1], rows[1], rows[2], rows[3])[0] != found[0]).any()  # of a copy, which is wiped
    assert all((one == other).all() for one, other in zip(kept, rows))
    records[2, 59] ^= 1
    opened = engine.aes256_gcm_open(rows[0], records[:, :12], rows[2], records[:, 12:60], out={"text": text})
    assert opened.text is text and opened.status.tolist() == [0, 0, warpkem.Status.INVALID_TAG, 0, 0, 0]
    assert not text[2].any() and (text[3:] == rows[3][3:]).all() and "secret" in repr(opened)
    with pytest.raises(warpkem.ItemError, match="item 2: WARPKEM_INVALID_TAG: not what was sealed"):
        opened.raise_for_status()
    opened.wipe()
    assert not text.any()


def test_random_batches_equal_the_tools(engine, tmp_path):
    """10,000 random batches, bad keys among them; the tool runs them in few processes, for they share algorithm and order."""
    tool = os.environ.get("WARPKEM_TOOL")
    if not tool:
        pytest.skip("WARPKEM_TOOL names no tool")
    batches, random = 10_000 if LONG else 300, np.random.default_rng(4)
    for name in KYBER_PY:
        a = warpkem.algorithm(name)
        counts = random.choice([1, 2, 3, 5, 7, 8, 9, 16, 17, 31, 64], batches // 3 + 1)
        total = int(counts.sum())
        seeds, m = random_bytes(random, total, 64), random_bytes(random, total, 32)
        paths = {kind: tmp_path / f"{kind}.bin" for kind in ("seeds", "m", "ek", "dk", "c", "K", "K2", "bad")}
        paths["seeds"].write_bytes(seeds.tobytes())
        paths["m"].write_bytes(m.tobytes())

        def run(*words):
            done = subprocess.run([tool, *map(str, words), "--param", name, "--force"], stderr=subprocess.PIPE, text=True)
            assert done.returncode in (0, 2), done.stderr

        def read(kind, size):
            return np.fromfile(paths[kind], np.uint8).reshape(total, size)

        run("keygen", "--seeds", paths["seeds"], "--ek", paths["ek"], "--dk", paths["dk"])
        ek, dk = read("ek", a.ek_bytes), read("dk", a.dk_bytes["expanded"])
        bad = ek.copy()
        bad[random.random(total) < 0.1, :3] = 255
        paths["bad"].write_bytes(bad.tobytes())
        run("encaps", "--ek", paths["bad"], "--m", paths["m"], "--ciphertext", paths["c"], "--shared-secret", paths["K"])
        c, K = read("c", a.c_bytes), read("K", 32)
        run("decaps", "--dk", paths["dk"], "--ciphertext", paths["c"], "--shared-secret", paths["K2"])
        K2 = read("K2", 32)
        start = 0
        for count in counts:
            rows = slice(start, start + count)
            start += count
            pairs = engine.keygen_derand(name, seeds[rows])
            sent = engine.encaps_derand(name, bad[rows], m[rows])
            received = engine.decaps(name, dk[rows], c[rows])
            for mine, its in ((pairs.ek, ek), (pairs.dk, dk), (sent.c, c), (sent.K, K), (received.K, K2)):
                assert (mine == its[rows]).all()
            assert ((sent.status != 0) == (bad[rows, :3] == 255).all(axis=1)).all()
