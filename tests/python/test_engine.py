"""Engine: shapes, errors, results, prepared keys, threads and forks."""
import hashlib
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import warpkem
from conftest import random_bytes

P = "ML-KEM-768"


def supported(engine, name):
    try:
        return engine.keygen(name, 3)
    except warpkem.UnsupportedError as error:
        pytest.skip(str(error))


def test_every_algorithm_agrees_in_every_dk_format(engine, name):
    supported(engine, name)
    for dk_format, size in warpkem.algorithm(name).dk_bytes.items():
        pairs = engine.keygen(name, 5, dk_format=dk_format).raise_for_status()
        assert pairs.dk.shape == (5, size)
        sent = engine.encaps(name, pairs.ek).raise_for_status()
        received = engine.decaps(name, pairs.dk, sent.c, dk_format=dk_format).raise_for_status()
        assert (sent.K == received.K).all() and sent.K.any()


def test_shapes_and_types_of_results(engine, name):
    a = warpkem.algorithm(name)
    pairs = supported(engine, name)
    sent = engine.encaps(a, pairs.ek)
    for array, shape in ((pairs.ek, (3, a.ek_bytes)), (pairs.dk, (3, a.dk_bytes[next(iter(a.dk_bytes))])),
                         (sent.c, (3, a.c_bytes)), (sent.K, (3, a.K_bytes)), (sent.status, (3,))):
        assert array.dtype == np.uint8 and array.shape == shape


def test_algorithms_go_by_name_alias_oid_number_and_constant():
    for one in warpkem.algorithms:
        spellings = [one, one.name, one.name.lower(), one.id] + ([one.oid] if one.oid else [])
        assert all(warpkem.algorithm(spelling) is one for spelling in spellings)
        assert getattr(warpkem, one.name.upper().replace("-", "_")) is one
        assert pickle.loads(pickle.dumps(one)) is one
    assert warpkem.algorithm("mlkem768") is warpkem.ML_KEM_768
    for wrong in ("ML-KEM-769", "", "ML-KEM-768\0", 0, 255, -1, None, True, 2.0, [], b"ML-KEM-768"):
        with pytest.raises(ValueError, match="no algorithm"):
            warpkem.algorithm(wrong)
    with pytest.raises(AttributeError):
        warpkem.ML_KEM_769


def test_single_items_are_bytes(engine):
    pair = engine.keygen(P)
    sent = engine.encaps(P, pair.ek)
    received = engine.decaps(P, memoryview(pair.dk), bytearray(sent.c))
    assert received.K == sent.K and isinstance(sent.K, bytes) and sent.status == 0
    assert engine.check_ek(P, pair.ek).status == 0 and engine.check_dk(P, pair.dk).ok
    with pytest.raises(ValueError, match="takes 1184 bytes, got 5"):
        engine.encaps(P, b"short")
    with pytest.raises(ValueError, match="takes 1184 bytes, got 0"):
        engine.encaps(P, b"")
    with pytest.raises(ValueError, match="all arrays, or all bytes"):
        engine.decaps(P, pair.dk, np.zeros((1, 1088), np.uint8))
    with pytest.raises(TypeError, match="cannot be wiped"):
        sent.wipe()
    with pytest.raises(TypeError, match="cannot be wiped"):
        with sent:
            pass


def test_empty_batches(engine):
    pairs = engine.keygen(P, 0)
    sent = engine.encaps(P, pairs.ek)
    assert sent.c.shape == (0, 1088) and sent.ok
    assert engine.decaps(P, pairs.dk, sent.c).K.shape == (0, 32)
    assert engine.check_ek(P, pairs.ek).status.shape == (0,)


WRONG = [np.zeros(1184, np.uint8), np.zeros((2, 1183), np.uint8), np.zeros((2, 1185), np.uint8),
         np.zeros((1, 2, 1184), np.uint8), np.zeros((2, 1184), np.int8), np.zeros((2, 1184), bool),
         np.zeros((2, 1184), np.uint16), np.zeros((2, 148), np.uint64), np.zeros((2, 1184)), np.zeros((2, 1184), object),
         np.zeros((), np.uint8), np.ma.masked_array(np.zeros((2, 1184), np.uint8)), [[0] * 1184], None, "text", 5]


@pytest.mark.parametrize("array", WRONG, ids=lambda one: f"{type(one).__name__}{getattr(one, 'shape', '')}"
                                                         f"{getattr(one, 'dtype', '')}")
def test_wrong_arrays_are_refused_before_anything_runs(engine, array):
    out = {"c": np.full((2, 1088), 7, np.uint8), "K": np.full((2, 32), 7, np.uint8)}
    for call in (lambda: engine.encaps(P, array, out=out), lambda: engine.check_ek(P, array),
                 lambda: engine.prepare_ek(P, array), lambda: engine.encaps_derand(P, array, np.zeros((2, 32), np.uint8))):
        with pytest.raises(ValueError, match="ek"):
            call()
    assert (out["c"] == 7).all() and (out["K"] == 7).all()


def test_wrong_counts_formats_and_rows(engine):
    for count in (-1, 2**32, 2.5, "3"):
        with pytest.raises(ValueError, match="count"):
            engine.keygen(P, count)
    with pytest.raises(ValueError, match="no dk format 'raw'; it has: expanded, seed"):
        engine.keygen(P, 1, dk_format="raw")
    pairs = engine.keygen(P, 3)
    with pytest.raises(ValueError, match="c: has 2 rows where dk has 3"):
        engine.decaps(P, pairs.dk, np.zeros((2, 1088), np.uint8))
    with pytest.raises(ValueError, match="m: has 2 rows where ek has 3"):
        engine.encaps_derand(P, pairs.ek, np.zeros((2, 32), np.uint8))


def test_any_layout_of_rows_gives_the_same(engine):
    ek, m = engine.keygen(P, 8).ek, random_bytes(1, 8, 32)
    expected = engine.encaps_derand(P, ek, m)
    wide = random_bytes(2, 16, 2000)
    strided = wide[::2, 100:1284]
    strided[...] = ek
    read_only = ek.copy()
    read_only.flags.writeable = False
    overlapping = np.lib.stride_tricks.as_strided(ek[:1], (8, 1184), (0, 1))
    for array in (strided, read_only, np.asfortranarray(ek), ek[::-1][::-1], np.ascontiguousarray(ek[::-1])[::-1],
                  ek.view(np.matrix)):
        got = engine.encaps_derand(P, array, np.asfortranarray(m))
        assert (got.c == expected.c).all() and (got.K == expected.K).all()
    same = engine.encaps_derand(P, overlapping, m)
    assert (same.c[0] == expected.c[0]).all() and (same.c[1] != expected.c[1]).any() and same.ok


def test_out_is_used_and_its_neighbours_are_left_alone(engine):
    ek, m = engine.keygen(P, 4).ek, random_bytes(1, 4, 32)
    expected = engine.encaps_derand(P, ek, m)
    wide = np.full((8, 1100), 9, np.uint8)
    K = np.empty((4, 32), np.uint8)
    got = engine.encaps_derand(P, ek, m, out={"c": wide[::2, 4:1092], "K": K})
    assert got.K is K and (wide[::2, 4:1092] == expected.c).all()
    assert (wide[1::2] == 9).all() and (wide[:, :4] == 9).all() and (wide[:, 1092:] == 9).all()
    sent = engine.encaps(P, ek, out=got)
    assert sent.K is K and (engine.encaps_derand(P, ek, m).K == expected.K).all() and (K != expected.K).any()
    with pytest.raises(ValueError, match="out: c takes an array of uint8 of shape \\(3, 1088\\)"):
        engine.encaps(P, ek[:3], out=got)
    fresh = engine.encaps(P, ek, out=got._replace(c=None))
    assert fresh.K is K and fresh.c.shape == (4, 1088) and fresh.c.any()
    again = engine.encaps_derand(P, ek, m, out=got)
    assert again.status is got.status and again.K is K
    dk = engine.keygen(P, 4, out={"ek": ek}).dk
    secrets = np.empty((4, 32), np.uint8)
    assert engine.decaps(P, dk, engine.encaps(P, ek).c, out=secrets).K is secrets


def test_wrong_outs_are_refused(engine):
    ek = engine.keygen(P, 4).ek
    read_only = np.zeros((4, 32), np.uint8)
    read_only.flags.writeable = False
    for K, reason in ((np.zeros((3, 32), np.uint8), "shape"), (np.zeros((4, 32), np.int8), "int8"),
                      (read_only, "read-only"), (np.zeros((32, 4), np.uint8).T, "lie together"),
                      (np.zeros((4, 32), np.uint8)[::-1], "backwards"), ([1], "NumPy array"),
                      (np.lib.stride_tricks.as_strided(np.zeros(64, np.uint8), (4, 32), (1, 1)), "overlap")):
        with pytest.raises(ValueError, match=reason):
            engine.encaps(P, ek, out={"K": K})
    for out in ({"k": read_only}, 5, (1, 2)):
        with pytest.raises(ValueError, match="takes a EncapsResult|takes an? EncapsResult"):
            engine.encaps(P, ek, out=out)
    with pytest.raises(warpkem.ArgumentError):
        engine.encaps(P, ek, out={"c": ek.reshape(-1)[:4 * 1088].reshape(4, 1088)})  # an output over the input
    with pytest.raises(ValueError, match="status"):
        engine.encaps(P, ek, out={"status": np.zeros(3, np.uint8)})


def test_bad_items_fail_alone(engine):
    ek = engine.keygen(P, 5).ek
    good = ek.copy()
    ek[3] = 255
    ek[4] = 255
    sent = engine.encaps(P, ek)
    assert sent.status.tolist() == [0, 0, 0, warpkem.Status.INVALID_EK, warpkem.Status.INVALID_EK] and not sent.ok
    assert not sent.c[3:].any() and not sent.K[3:].any() and sent.K[:3].any(axis=1).all()
    with pytest.raises(warpkem.ItemError, match=r"item 3: WARPKEM_INVALID_EK.*2 of 5") as raised:
        sent.raise_for_status()
    assert (raised.value.index, raised.value.failed, raised.value.status) == (3, 2, warpkem.Status.INVALID_EK)
    copy = pickle.loads(pickle.dumps(raised.value))
    assert str(copy) == str(raised.value) and copy.index == 3
    assert engine.check_ek(P, ek).status.tolist() == sent.status.tolist()
    assert engine.encaps(P, good).raise_for_status().ok
    single = engine.encaps(P, ek[3].tobytes())
    assert single.status == 3 and single.K == bytes(32)
    pairs = engine.keygen(P, 2)
    pairs.dk[1, 1152 + 7] ^= 1
    assert engine.check_dk(P, pairs.dk).status.tolist() == [0, warpkem.Status.INVALID_DK]


def test_secrets_are_wiped_and_never_shown(engine):
    with engine.keygen(P, 2) as pairs, engine.encaps(P, pairs.ek) as sent:
        assert sent.K.any() and "secret" in repr(sent) and "secret" in repr(pairs)
        first = str(pairs.dk[0, 0])
        assert repr(pairs).count("<secret>") == 1 and f"dk=array([[{first}" not in repr(pairs)
    assert not sent.K.any() and not pairs.dk.any() and sent.c.any() and pairs.ek.any()
    key = bytearray(b"secret")
    warpkem.wipe(key)
    assert key == bytes(6)
    with pytest.raises(TypeError):
        warpkem.wipe(b"secret")


def test_prepared_keys(engine):
    pairs = engine.keygen(P, 3)
    bad = pairs.ek.copy()
    bad[1] = 255
    m, index = random_bytes(3, 4, 32), np.array([2, 0, 1, 9])
    with engine.prepare_ek(P, bad) as keys, engine.prepare_dk(P, pairs.dk) as own:
        assert len(keys) == 3 and keys.bytes_per_key > 1184 and keys.status.tolist() == [0, 3, 0]
        sent = engine.encaps_prepared(keys, index=index, m=m)
        assert sent.status.tolist() == [0, 0, 3, warpkem.Status.INVALID_KEY_INDEX]
        plain = engine.encaps_derand(P, pairs.ek[[2, 0]], m[:2])
        assert (sent.c[:2] == plain.c).all() and (sent.K[:2] == plain.K).all()
        received = engine.decaps_prepared(own, sent.c[:2], index=[2, 0])
        assert (received.K == plain.K).all()
        assert engine.encaps_prepared(keys, 7).K.shape == (7, 32)
        for arguments in ({}, {"count": 2, "index": index}):
            with pytest.raises(ValueError, match="same number"):
                engine.encaps_prepared(keys, **arguments)
        for wrong in ([-1], [2**32], [0.5], [[0]]):
            with pytest.raises(ValueError, match="index"):
                engine.encaps_prepared(keys, index=wrong)
    with pytest.raises(ValueError, match="closed"):
        engine.encaps_prepared(keys, 1)


def test_options():
    with warpkem.Engine("portable", threads=0, policy="CNSA-2.0") as engine:
        assert [one.name for one in engine.backends() if one.preferred] == ["portable"]
        engine.keygen("ML-KEM-1024", 1).raise_for_status()
        with pytest.raises(warpkem.UnsupportedError):
            engine.keygen(P, 1)
        engine.selftest("portable")
        assert "warpkem_" in engine.metrics_text()
    with pytest.raises(ValueError, match="closed"):
        engine.keygen("ML-KEM-1024", 1)
    for strict, verdict in ((False, "OK"), (True, "INVALID_EK")):
        with warpkem.Engine(threads=0, refuse_zero=strict) as engine:
            ek = engine.keygen("X-Wing", 1).ek.copy()
            ek[0, -32:] = 0  # a point of low order
            assert warpkem.Status(engine.encaps("X-Wing", ek).status[0]).name == verdict
    with warpkem.Engine("portable", threads=0, pairwise_every=2) as engine:
        engine.keygen(P, 3).raise_for_status()
        assert [one.items for one in engine.backends() if one.preferred] == [3 + 2 * 2]
    for wrong in ({"backend": "gpu"}, {"policy": "none-such"}):
        with pytest.raises(warpkem.UnsupportedError):
            warpkem.Engine(**wrong)
    for wrong in ({"threads": -1}, {"threads": 2**32}, {"max_items": -5}, {"backend": "a\0b"}):
        with pytest.raises(ValueError):
            warpkem.Engine(**wrong)


def test_a_random_function_of_the_callers():
    asked = []

    def counted(size):
        asked.append(size)
        return bytes(size)

    with warpkem.Engine(threads=0, random=counted) as engine:
        first, second = engine.keygen(P, 2), engine.keygen_derand(P, np.zeros((2, 64), np.uint8))
        assert sum(asked) == 128 and (first.dk == second.dk).all()
    for wrong in (lambda size: b"", lambda size: 1 / 0):
        with warpkem.Engine(threads=0, random=wrong) as engine:
            with pytest.raises(warpkem.Error) as raised:
                engine.keygen(P, 1)
            assert raised.value.status == warpkem.Status.RNG_FAILED


def test_threads_share_an_engine_that_is_closed_meanwhile():
    engine = warpkem.Engine()
    pairs = engine.keygen(P, 64)
    done, errors = [], []

    def work():
        try:
            while True:
                sent = engine.encaps(P, pairs.ek)
                assert (engine.decaps(P, pairs.dk, sent.c).K == sent.K).all()
                done.append(1)
        except ValueError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    while len(done) < 60:
        threads[0].join(0.01)
    engine.close()
    for thread in threads:
        thread.join(60)
    assert errors == ["the engine is closed"] * 6


def test_the_interpreters_lock_is_released():
    """While one thread is inside a long call, another one runs Python."""
    with warpkem.Engine(threads=0) as engine:
        ek = engine.keygen(P, 20000).ek
        seen, over = [0], threading.Event()

        def call():
            engine.check_ek(P, ek)
            engine.encaps(P, ek)
            over.set()

        thread = threading.Thread(target=call)
        thread.start()
        while not over.is_set():
            seen[0] += 1
        thread.join()
        assert seen[0] > 1000


def test_a_forked_child_makes_its_engine_anew(engine):
    ek = engine.keygen(P, 2).ek
    keys = engine.prepare_ek(P, ek)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            sent = engine.encaps(P, ek).raise_for_status()
            try:
                engine.encaps_prepared(keys, 1)
            except warpkem.Error as error:
                code = 0 if error.status == warpkem.Status.FORKED and sent.K.any() else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    engine.encaps_prepared(keys, 1).raise_for_status()


def test_parent_and_child_draw_different_randomness(engine):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, engine.keygen(P).ek)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 2000) not in (b"", engine.keygen(P).ek)


def test_many_messages_are_hashed_at_once(engine):
    for count, lengths in ((0, (5,)), (1, (1,)), (9, (136,)), (21, (10, 1184)), (100, (7, 120, 300))):
        parts = [random_bytes(i, count, length) for i, length in enumerate(lengths)]
        found = engine.shake256(b"prefix", *parts, size=200)
        expected = [hashlib.shake_256(b"prefix" + b"".join(row.tobytes() for row in rows)).digest(200) for rows in zip(*parts)]
        assert [row.tobytes() for row in found] == expected
    every = random_bytes(4, 12, 40)
    out = np.zeros((6, 50), np.uint8)
    assert engine.shake256(b"", every[::2, :9], size=32, out=out[:, :32]).base is not None and not out[:, 32:].any()
    assert (out[:, :32] == engine.shake256(b"", every[::2, :9].copy(), size=32)).all()
    for wrong, reason in (((), "at least one"), ((every, every[:3]), "different lengths"), ((every[0],), "shape"),
                          ((every.astype(int),), "uint8"), ((np.zeros((2, 0), np.uint8),), "bytes of a part"),
                          ((np.zeros((1, 70000), np.uint8),), "bytes of a part")):
        with pytest.raises(ValueError, match=reason):
            engine.shake256(b"", *wrong, size=32)


def test_an_m_is_derived_from_the_parts_and_the_key(engine):
    for name, count in ((P, 0), (P, 1), ("ML-KEM-1024", 21), ("X-Wing", 9), ("SecP384r1MLKEM1024", 3)):
        a, prefix = warpkem.algorithm(name), bytes(range(150))
        ek, first, second = engine.keygen(a, count).ek, random_bytes(1, count, 2 * 7)[:, ::2], random_bytes(2, count, 40)[:, :33]
        ek[5:6] = 255
        m = np.empty((count, a.m_bytes), np.uint8)
        for row, *message in zip(m, first, second, ek):
            h = hashlib.sha3_256(message.pop()).digest()
            row[:] = list(hashlib.shake_256(prefix + b"".join(one.tobytes() for one in message) + h).digest(a.m_bytes))
        expected, found = engine.encaps_derand(a, ek, m), engine.encaps_derived(a, ek, prefix, first, second)
        assert all((one == other).all() for one, other in zip(expected, found))
        assert list(np.flatnonzero(found.status)) == ([5] if count > 5 else [])
    part = random_bytes(3, count, 8)
    for wrong, reason in (((ek, b"x"), "at least one"), ((ek, b"x", part[1:]), "different lengths: ek"),
                          ((ek[:, 1:], b"x", part), "shape"), ((ek, b"x", part[0]), "shape"),
                          ((ek, b"x", np.zeros((count, 65504), np.uint8)), "bytes of a message")):
        with pytest.raises(ValueError, match=reason):
            engine.encaps_derived(a, *wrong)


def test_wrong_arrays_are_not_sealed(engine):
    key, nonce, aad, text = (random_bytes(i, 6, size) for i, size in enumerate((32, 12, 20, 32)))
    for wrong, reason in (((key[:, :31], nonce, aad, text), r"shape \(n, 32\)"), ((key, nonce, aad[:3], text), "different lengths"),
                          ((key, bytes(11), aad, text), "nonce: takes 12 bytes"), ((key, nonce, aad, text[0]), "text: takes a NumPy"),
                          ((key, nonce, aad.astype(int), text), "uint8"), ((key, nonce, aad, [1]), "list"),
                          ((bytes(32), bytes(12), aad, text), "two texts with one nonce")):
        with pytest.raises(ValueError, match=reason):
            engine.aes256_gcm_seal(*wrong)
    with pytest.raises(ValueError, match="at least the 16 bytes"):
        engine.aes256_gcm_open(key, nonce, aad, text[:, :15])
    with pytest.raises(ValueError, match=r"sealed takes an array of uint8 of shape \(6, 48\)"):
        engine.aes256_gcm_seal(key, nonce, aad, text, out=np.zeros((6, 47), np.uint8))
    with pytest.raises(ValueError, match="single item as bytes has none"):
        engine.aes256_gcm_seal(bytes(32), bytes(12), b"", b"", out=np.zeros((1, 16), np.uint8))
    with pytest.raises(ValueError, match="sealed overlaps text"):
        engine.aes256_gcm_seal(key, nonce, aad, (both := np.zeros((6, 60), np.uint8))[:, :32], out=both[:, 12:])


def test_a_library_that_cannot_be_loaded_is_an_import_error():
    done = subprocess.run([sys.executable, "-c", "import warpkem"], env={**os.environ, "WARPKEM_LIBRARY": "/nowhere.so"},
                          stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "ImportError: warpkem: /nowhere.so" in done.stderr


def test_a_program_that_leaves_engines_open_ends_well():
    code = """
import asyncio, os, threading, warpkem
engine = warpkem.Engine(log=lambda level, text: None, random=os.urandom)
ek = engine.keygen("ML-KEM-768", 500).ek
asyncio.run(engine.encaps_async("ML-KEM-768", ek))
def work():
    while True:
        engine.encaps("ML-KEM-768", ek)
threading.Thread(target=work, daemon=True).start()
"""
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_memory_stays_flat(engine):
    pairs = engine.keygen(P, 256)

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def batches(number):
        for _ in range(number):
            sent = engine.encaps(P, pairs.ek)
            engine.decaps(P, pairs.dk, sent.c)

    batches(50)
    before = resident()
    batches(1000)
    assert resident() - before < 8 << 20
