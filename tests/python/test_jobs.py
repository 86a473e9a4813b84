"""The classes for bulk data, and the example jobs: what they make can be opened, the same bytes come out whenever and wherever."""
import csv
import errno
import hashlib
import json
import os
import pathlib
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import warpkem
from conftest import ROOT, random_bytes
from mint_prekeys import Mint
from warpkem import arrow, jobs, ray

P = "ML-KEM-768"
EXAMPLES = ROOT / "tools" / "python" / "examples"


@pytest.fixture
def secrets(tmp_path):
    made = {}
    for number, name in enumerate(("job", "wrap", "content", "seed")):
        path = tmp_path / f"{name}.key"
        path.write_bytes(random_bytes(number + 40, 64 if name == "seed" else 32).tobytes())
        made[name] = f"file:{path}"
    return made


def ids(number):
    return pa.table({"id": pa.array(range(number), pa.int64())})


def open_wrapped(key, wrapped, name, row):
    return AESGCM(key).decrypt(wrapped[:12], wrapped[12:], name.encode() + row)


def row_id(number):
    return b"i" + number.to_bytes(9, "little", signed=True)


def test_derivation_is_what_the_text_says():
    parts = [b"WarpKEM derive 1", b"m", b"ML-KEM-768", b"context", b"secret", b"row"]
    text = b"".join(len(one).to_bytes(8, "little") + one for one in parts)
    assert ray.derive(b"secret", "m", "ML-KEM-768", b"context", [b"row"], 40) == hashlib.shake_256(text).digest(40)


def test_derivations_are_apart():
    base = (b"s" * 32, "seed", P, b"c")
    seen = {bytes(ray.derive(*base, [b"r"], 32))}
    for i, other in enumerate((b"t" * 32, "nonce", "ML-KEM-512", b"")):
        seen.add(bytes(ray.derive(*base[:i], other, *base[i + 1:], [b"r"], 32)))
    seen.add(bytes(ray.derive(b"s" * 32, "seed", P, b"", [b"cr"], 32)))
    seen.update(bytes(ray.derive(*base, [one], 32)) for one in ray.row_ids(pa.array([1, 2, -1])))
    seen.update(bytes(ray.derive(*base, [one], 32)) for one in ray.row_ids(pa.array(["1", "2"])))
    seen.update(bytes(ray.derive(*base, [one], 32)) for one in ray.row_ids(pa.array([b"1", b"2"])))
    assert len(seen) == 13


@pytest.mark.parametrize("column, expected", [
    (pa.array([0, -1, 2**63 - 1, -2**63], pa.int64()), [0, -1, 2**63 - 1, -2**63]),
    (pa.array([3, -3], pa.int8()), [3, -3]),
    (pa.array([0, 2**64 - 1], pa.uint64()), [0, 2**64 - 1]),
    (pa.array([1, 2, 3, 4], pa.int64()).slice(1, 2), [2, 3]),
    (pa.array(["a", "", "bcd", "e\u00e9", "f"]), ["a", "", "bcd", "e\u00e9", "f"]),
    (pa.chunked_array([["ab", "c"], ["de"]]), ["ab", "c", "de"]),
    (pa.array(["ab", "cd", "e"], pa.large_string()).slice(1), ["cd", "e"]),
    (pa.array([b"x", b"yz"], pa.binary()), [b"x", b"yz"]),
    (pa.array([b"xy", b"zz", b"uv"], pa.binary(2)).slice(1), [b"zz", b"uv"]),
    (pa.array([], pa.string()), []), (pa.array([], pa.int64()), [])])
def test_ids_are_told_apart_and_derived_from_in_one_call(secrets, column, expected):
    def named(one):
        kinds = {int: lambda: row_id(one), str: lambda: b"s" + one.encode(), bytes: lambda: b"b" + one}
        return kinds[type(one)]()

    rows = list(map(named, expected))
    assert ray.row_ids(column) == rows
    step = ray.Keygen(P, secrets["job"], allow_unwrapped=True)
    what = random_bytes(3, len(rows), 33)
    for extra, whole in ((None, rows), (what, [len(row).to_bytes(8, "little") + row + one.tobytes() for row, one in zip(rows, what)])):
        found = step.derive(step.secret, "purpose", b"context", ray._ids(column), len(rows), 40, extra)
        assert found.tobytes() == ray.derive(step.secret, "purpose", P, b"context", whole, 40)


@pytest.mark.parametrize("name", [P, "MLKEM1024-P384"])
@pytest.mark.parametrize("column", [pa.array(range(9), pa.int64()), pa.array(["x" * (i % 4) + str(i) for i in range(9)]),
                                    pa.array([], pa.string())])
def test_an_encapsulation_is_derived_from_the_id_and_the_key(secrets, name, column):
    with warpkem.Engine() as engine:
        a, count = warpkem.algorithm(name), len(column)
        ek = engine.keygen(a, count).ek
        ek[4:5] = 255
        step = ray.Encapsulate(a, secrets["job"], context="a", allow_unwrapped=True)
        sent = step(pa.table({"id": column, "ek": arrow.from_numpy(ek)}))
        framed = (1).to_bytes(8, "little") + b"a" + hashlib.sha3_256(b"").digest()
        rows = [len(row).to_bytes(8, "little") + row + hashlib.sha3_256(one).digest() for row, one in zip(ray.row_ids(column), ek)]
        m = ray.derive(ray.secret(secrets["job"]), "m", a.name, framed, rows, a.m_bytes)
        expected = engine.encaps_derand(a, ek, np.frombuffer(m, np.uint8).reshape(count, a.m_bytes))
    assert sent["status"].to_pylist() == list(expected.status)
    for found, wanted in ((sent["c"], expected.c), (sent["K"], expected.K)):
        assert found.to_pylist() == [None if bad else row.tobytes() for row, bad in zip(wanted, expected.status)]


def test_secrets_go_by_name_only(tmp_path, monkeypatch):
    (tmp_path / "short").write_bytes(b"x" * 31)
    monkeypatch.setenv("JOB", "ab" * 32)
    monkeypatch.setenv("BAD", "xyz")
    assert ray.secret("env:JOB") == b"\xab" * 32
    for wrong, reason in ((b"x" * 32, "goes by name"), ("x" * 32, "goes by name"), ("file:", "goes by name"),
                          ("env:NONE", "no such environment"), ("env:BAD", "hexadecimal"),
                          (f"file:{tmp_path}/short", "31 bytes")):
        with pytest.raises(ValueError, match=reason):
            ray.secret(wrong)
    with pytest.raises(OSError):
        ray.secret("file:/nowhere")


def test_secrets_stay_wrapped_unless_the_caller_insists(secrets):
    for make in (lambda: ray.Keygen(P, secrets["job"]), lambda: ray.Encapsulate(P, secrets["job"]),
                 lambda: ray.Decapsulate(P, secrets["seed"])):
        with pytest.raises(ValueError, match="unwrapped"):
            make()


def test_keygen_wraps_seeds_that_open(engine, secrets):
    step = ray.Keygen(P, secrets["job"], wrap_key=secrets["wrap"])
    table = step(ids(20))
    assert table.equals(step(ids(20))) and step(ids(20).slice(7, 5)).equals(table.slice(7, 5))
    wrap = ray.secret(secrets["wrap"])
    seeds = [open_wrapped(wrap, one.as_py(), P, row_id(i)) for i, one in enumerate(table.column("seed"))]
    expected = engine.keygen_derand(P, np.frombuffer(b"".join(seeds), np.uint8).reshape(20, 64))
    assert (arrow.to_numpy(table.column("ek"), 1184) == expected.ek).all() and len(set(seeds)) == 20
    raw = ray.Keygen(P, secrets["job"], allow_unwrapped=True)(ids(20))
    assert raw.column("seed").to_pylist() == seeds
    other = ray.Keygen(P, secrets["job"], allow_unwrapped=True, context="other")(ids(20))
    assert not set(other.column("seed").to_pylist()) & set(seeds)
    with pytest.raises(ValueError, match="two rows"):
        step(pa.table({"id": ["a", "a"]}))
    with pytest.raises(ValueError, match="a row has none"):
        step(pa.table({"id": ["a", None]}))
    with pytest.raises(ValueError, match="no column 'id'"):
        step(pa.table({"name": ["a"]}))


def test_what_is_encapsulated_is_rewrapped_and_opened(engine, secrets, tmp_path):
    seed = np.frombuffer(ray.secret(secrets["seed"]), np.uint8).reshape(1, 64)
    ek = np.repeat(engine.keygen_derand(P, seed).ek, 12, 0)
    ek[5] = 255
    valid = np.arange(12) != 7
    table = ids(12).append_column("ek", arrow.from_numpy(ek, valid))
    step = ray.Encapsulate(P, secrets["job"], content_key=secrets["content"])
    sent = step(table)
    assert sent.column("status").to_pylist() == [0] * 5 + [3, 0, 1] + [0] * 4
    assert sent.column("wrapped_key").null_count == sent.column("c").null_count == 2
    assert sent.equals(step(table))
    content = ray.secret(secrets["content"])
    opened = ray.Decapsulate(P, secrets["seed"], allow_unwrapped=True)(sent)
    assert opened.column("secret").to_pylist() == [None if i in (5, 7) else content for i in range(12)]
    assert opened.column("status").to_pylist() == [1 if i in (5, 7) else 0 for i in range(12)]
    wrapped = ray.Decapsulate(P, secrets["seed"], job_secret=secrets["job"], wrap_key=secrets["wrap"])(sent)
    assert open_wrapped(ray.secret(secrets["wrap"]), wrapped.column("secret")[3].as_py(), P, row_id(3)) == content

    new_seed = tmp_path / "new.seed"
    new_seed.write_bytes(random_bytes(9, 64).tobytes())
    new = engine.keygen_derand(P, new_seed.read_bytes())
    damaged = sent.column("wrapped_key").to_pylist()
    damaged[2] = damaged[2][:-1] + bytes([damaged[2][-1] ^ 1])
    damaged[3] = b"short"
    sent = sent.set_column(sent.schema.get_field_index("wrapped_key"), "wrapped_key", pa.array(damaged, pa.binary()))
    rewrapped = ray.Rewrap(P, secrets["seed"], new.ek, secrets["job"])(sent)
    bad = [i in (2, 3, 5, 7) for i in range(12)]
    assert [one != 0 for one in rewrapped.column("status").to_pylist()] == bad
    opened = ray.Decapsulate(P, f"file:{new_seed}", allow_unwrapped=True)(rewrapped)
    assert opened.column("secret").to_pylist() == [None if one else content for one in bad]


def test_every_algorithm_is_minted_sent_rewrapped_and_opened(engine, secrets, tmp_path, name):
    a, content = warpkem.algorithm(name), ray.secret(secrets["content"])
    minted = ray.Keygen(name, secrets["job"], wrap_key=secrets["wrap"])(ids(3))
    old, new = (open_wrapped(ray.secret(secrets["wrap"]), minted.column("seed")[i].as_py(), name, row_id(i)) for i in (0, 1))
    (tmp_path / "old").write_bytes(old), (tmp_path / "new").write_bytes(new)
    table = ids(4).append_column("ek", pa.array([minted.column("ek")[0].as_py()] * 4, pa.binary(a.ek_bytes)))
    sent = ray.Encapsulate(name, secrets["job"], content_key=secrets["content"])(table)
    assert sent.column("status").to_pylist() == [0] * 4
    c, wrapped = sent.column("c")[2].as_py(), sent.column("wrapped_key")[2].as_py()
    K = engine.decaps(a, old, c, dk_format="seed").K
    if a.K_bytes != 32:  # as the text of warpkem.ray has it
        parts = (b"WarpKEM wrap 1", name.encode(), K + c)
        K = hashlib.shake_256(b"".join(len(one).to_bytes(8, "little") + one for one in parts)).digest(32)
    assert open_wrapped(K, wrapped, name, row_id(2)) == content
    rewrapped = ray.Rewrap(name, f"file:{tmp_path}/old", minted.column("ek")[1].as_py(), secrets["job"])(sent)
    assert not set(rewrapped.column("c").to_pylist()) & set(sent.column("c").to_pylist())
    opened = ray.Decapsulate(name, f"file:{tmp_path}/new", allow_unwrapped=True)(rewrapped)
    assert opened.column("secret").to_pylist() == [content] * 4
    shut = ray.Decapsulate(name, f"file:{tmp_path}/old", allow_unwrapped=True)(rewrapped)
    assert shut.column("secret").to_pylist() == [None] * 4 and 0 not in shut.column("status").to_pylist()


def test_what_is_null_holds_no_wrapped_secret(engine, secrets):
    """Where there is no K, its zeros would be the key."""
    ek = engine.keygen(P, 6).ek
    ek[2] = 255
    table = ids(6).append_column("ek", arrow.from_numpy(ek, np.arange(6) != 4))
    for column, arguments in (("wrapped_key", {"content_key": secrets["content"]}), ("K", {"allow_unwrapped": True})):
        [chunk] = ray.Encapsulate(P, secrets["job"], **arguments)(table).column(column).chunks
        rows = np.frombuffer(chunk.buffers()[1], np.uint8).reshape(6, -1)
        assert rows.any(axis=1).tolist() == [True, True, False, True, False, True]


def test_wrapped_keys_are_bytes(secrets):
    table = ids(3).append_column("c", pa.array([bytes(1088)] * 3, pa.binary(1088))).append_column("wrapped_key", pa.array([1, 2, 3]))
    with pytest.raises(ValueError, match="wrapped_key: takes a column of bytes, got int64"):
        ray.Decapsulate(P, secrets["seed"], allow_unwrapped=True)(table)


@pytest.mark.parametrize("id", [pa.array(range(40), pa.int64()), pa.array(["x" * (i % 3) + str(i) for i in range(40)])])
def test_a_library_without_openssl_gives_the_same(engine, secrets, monkeypatch, id):
    seed = np.frombuffer(ray.secret(secrets["seed"]), np.uint8).reshape(1, 64)
    table = pa.table({"id": id, "ek": arrow.from_numpy(np.repeat(engine.keygen_derand(P, seed).ek, 40, 0))})

    def results():
        minted = ray.Keygen(P, secrets["job"], wrap_key=secrets["wrap"])(table.select(["id"]))
        sent = ray.Encapsulate(P, secrets["job"], content_key=secrets["content"])(table)
        wrapped = sent.column("wrapped_key").to_pylist()
        wrapped[3], wrapped[7], wrapped[9], wrapped[11] = wrapped[4], None, b"short", bytes(45)
        changed = sent.set_column(sent.schema.get_field_index("wrapped_key"), "wrapped_key", pa.array(wrapped, pa.binary()))
        opened = ray.Decapsulate(P, secrets["seed"], job_secret=secrets["job"], wrap_key=secrets["wrap"])(changed)
        return minted, sent, opened, ray.Rewrap(P, secrets["seed"], table.column("ek")[0].as_py(), secrets["job"])(changed)

    def unsupported(*_, **__):
        raise warpkem.UnsupportedError(warpkem.Status.UNSUPPORTED)

    expected = results()
    assert np.flatnonzero(expected[2].column("status")).tolist() == np.flatnonzero(expected[3].column("status")).tolist() == [3, 7, 9, 11]
    monkeypatch.setattr(warpkem.Engine, "aes256_gcm_seal", unsupported)
    monkeypatch.setattr(warpkem.Engine, "aes256_gcm_open", unsupported)
    assert all(one.equals(other) for one, other in zip(results(), expected))


def test_another_content_key_gets_other_ciphertexts(engine, secrets):
    table = ids(3).append_column("ek", arrow.from_numpy(engine.keygen(P, 3).ek))
    one = ray.Encapsulate(P, secrets["job"], content_key=secrets["content"])(table)
    other = ray.Encapsulate(P, secrets["job"], content_key=secrets["wrap"])(table)
    keys = ray.Encapsulate(P, secrets["job"], allow_unwrapped=True)(table)
    for a, b in ((one, other), (one, keys), (other, keys)):
        assert not set(a.column("c").to_pylist()) & set(b.column("c").to_pylist())


# ---- the jobs -----------------------------------------------------------------------------------------------------------

def start(program, *words, **more):
    return subprocess.Popen([sys.executable, str(EXAMPLES / program), *map(str, words)], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **more)


def finish(process, code=0):
    _, text = process.communicate(timeout=300)
    assert process.returncode == code, text
    return text


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(pathlib.Path(folder).iterdir())}


def mint(secrets, out, *more, users=50):
    return ["--users", users, "--keys", 40, "--job-secret", secrets["job"], "--wrap-key", secrets["wrap"], "--rows-per-part",
            100, "--out", out, *more]


def undisturbed(secrets, out, rows=2000):
    """What mint() makes, made here."""
    jobs.run(jobs.Job(jobs.Made(rows, 100), Mint, {"algorithm": P, "job_secret": secrets["job"], "context": "", "keys": 40,
                                                   "wrap_key": secrets["wrap"]}, ["user", "key", "ek", "seed"], out),
             [ray.secret(secrets["job"]), ray.secret(secrets["wrap"])])
    return contents(out)


def test_minted_prekeys_open(secrets, engine, tmp_path):
    text = finish(start("mint_prekeys.py", *mint(secrets, tmp_path / "out")))
    assert "2.00k/2.00k" in text
    table = pa.concat_tables(map(pq.read_table, jobs.parts(tmp_path / "out")))
    assert table.column("user").to_pylist() == [i // 40 for i in range(2000)]
    assert table.column("key").to_pylist() == [i % 40 for i in range(2000)]
    seed = open_wrapped(ray.secret(secrets["wrap"]), table.column("seed")[1234].as_py(), P, row_id(1234))
    assert engine.keygen_derand(P, seed).ek == table.column("ek")[1234].as_py()


def test_a_killed_job_goes_on_and_its_output_is_an_undisturbed_ones(secrets, tmp_path):
    undisturbed(secrets, tmp_path / "whole", 8000)
    words = mint(secrets, tmp_path / "killed", users=200)
    process = start("mint_prekeys.py", *words)
    deadline = time.monotonic() + 60
    while len(jobs.parts(tmp_path / "killed")) < 5 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    made = jobs.parts(tmp_path / "killed")
    assert process.returncode == -signal.SIGKILL and 5 <= len(made) < 80
    (tmp_path / "killed" / ".part-00000-00099.parquet.host.1.tmp").write_bytes(b"left behind")
    before = {path: path.stat().st_mtime_ns for path in made}
    finish(start("mint_prekeys.py", *words))
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    # Another job does not go on there.
    text = finish(start("mint_prekeys.py", *mint(secrets, tmp_path / "killed", users=201)), 1)
    assert "holds another job" in text
    with pytest.raises(SystemExit, match="holds another job"):
        undisturbed({**secrets, "job": secrets["content"]}, tmp_path / "killed", 8000)


def test_a_full_disk_is_one_clear_line_and_the_job_goes_on(secrets, tmp_path):
    """On a small file system, in a mount namespace of the shell's own."""
    out, then = tmp_path / "out", tmp_path / "then"
    out.mkdir()
    unshare = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]
    mount = f"mount -t tmpfs -o size=1m none '{out}'"
    if not shutil.which("unshare") or subprocess.run([*unshare, "sh", "-c", mount], capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted")
    job = shlex.join([sys.executable, str(EXAMPLES / "mint_prekeys.py"), *map(str, mint(secrets, out))])
    done = subprocess.run([*unshare, "sh", "-c", f"""
        {mount} || exit 9
        {job}; first=$?
        cp -r '{out}' '{then}'
        mount -o remount,size=20m '{out}' || exit 9
        test $first = 1 && {job} && cp -r '{out}' '{tmp_path}/end'"""], text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert os.strerror(errno.ENOSPC) in done.stderr and "start it again" in done.stderr and "Traceback" not in done.stderr
    whole = undisturbed(secrets, tmp_path / "whole")
    stopped = contents(then)
    assert 2 <= len(stopped) < len(whole) and stopped.items() <= whole.items()  # nothing half-written, nothing left over
    assert contents(tmp_path / "end") == whole


@pytest.mark.parametrize("size", [0, 60_000])
def test_a_file_that_cannot_be_written_leaves_nothing(secrets, tmp_path, size):
    """A limit on the size of files: the manifest does not fit, or the first part. The job can be started again."""
    out = tmp_path / "out"
    before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[0][1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            undisturbed(secrets, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before[0])
        signal.signal(signal.SIGXFSZ, before[1])
    assert [path.name for path in out.iterdir()] == (["job.json"] if size else [])
    (out / ".job.json.host.1.tmp").write_bytes(b"{")  # of a writer that was killed
    if size:
        (out / ".part-00000-00003.parquet.host.1.tmp").write_bytes(b"PAR1")
    assert undisturbed(secrets, out) == undisturbed(secrets, tmp_path / "whole")


def recipients(engine, path, rows=900, groups=400):
    ek = engine.keygen_derand(P, random_bytes(77, rows, 64)).ek.copy()
    ek[[10, 500]] = 255
    pq.write_table(pa.table({"ek": arrow.from_numpy(ek, np.arange(rows) != 20)}), path, row_group_size=groups)


def test_encapsulate_lists_bad_keys_and_rewrap_takes_its_output(secrets, engine, tmp_path):
    recipients(engine, tmp_path / "recipients.parquet")
    finish(start("encapsulate.py", tmp_path / "recipients.parquet", "--content-key", secrets["content"], "--job-secret",
                 secrets["job"], "--rows-per-part", 150, "--out", tmp_path / "sent"))
    with open(tmp_path / "sent" / "bad.csv") as file:
        assert list(csv.reader(file)) == [["id", "status"], ["10", "INVALID_EK"], ["20", "INVALID_ARGUMENT"],
                                          ["500", "INVALID_EK"]]
    sent = pa.concat_tables(map(pq.read_table, jobs.parts(tmp_path / "sent")))
    assert sent.column("id").to_pylist() == list(range(900))
    K = engine.decaps(P, random_bytes(77, 900, 64)[777].tobytes(), sent.column("c")[777].as_py(), dk_format="seed").K
    assert open_wrapped(K, sent.column("wrapped_key")[777].as_py(), P, row_id(777)) == ray.secret(secrets["content"])

    # Messages to one key, rewrapped to another.
    seed, new_seed = ray.secret(secrets["seed"]), random_bytes(9, 64).tobytes()
    ek = np.repeat(np.frombuffer(engine.keygen_derand(P, seed, dk_format="seed").ek, np.uint8).reshape(1, -1), 30, 0)
    step = ray.Encapsulate(P, secrets["job"], content_key=secrets["content"])
    pq.write_table(step(ids(30).append_column("ek", arrow.from_numpy(ek))), tmp_path / "messages.parquet")
    (tmp_path / "new.ek").write_bytes(engine.keygen_derand(P, new_seed, dk_format="seed").ek)
    (tmp_path / "new.seed").write_bytes(new_seed)
    finish(start("rewrap.py", tmp_path / "messages.parquet", "--old-dk", secrets["seed"], "--new-ek", tmp_path / "new.ek",
                 "--job-secret", secrets["job"], "--out", tmp_path / "rewrapped"))
    [part] = jobs.parts(tmp_path / "rewrapped")
    opened = ray.Decapsulate(P, f"file:{tmp_path}/new.seed", allow_unwrapped=True)(pq.read_table(part))
    assert set(opened.column("secret").to_pylist()) == {ray.secret(secrets["content"])}


def test_wrong_inputs_are_one_line(secrets, tmp_path):
    (tmp_path / "not.parquet").write_bytes(b"no Parquet")
    text = finish(start("encapsulate.py", tmp_path / "not.parquet", "--content-key", secrets["content"], "--job-secret",
                        secrets["job"], "--out", tmp_path / "out"), 1)
    assert "encapsulate.py: " in text and "Traceback" not in text
    text = finish(start("mint_prekeys.py", *mint({**secrets, "wrap": "file:/nowhere"}, tmp_path / "out")), 1)
    assert "/nowhere" in text and "Traceback" not in text
    text = finish(start("mint_prekeys.py", *mint(secrets, tmp_path / "out", "--algorithm", "ML-KEM-1")), 2)
    assert "ML-KEM-1" in text


def test_manifests_hold_no_secret(secrets, tmp_path):
    undisturbed(secrets, tmp_path / "out")
    text = (tmp_path / "out" / "job.json").read_text()
    json.loads(text)
    for name in ("job", "wrap"):
        assert ray.secret(secrets[name]).hex() not in text
