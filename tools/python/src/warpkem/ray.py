"""Classes for Dataset.map_batches(..., batch_format="pyarrow"): key generation, encapsulation, decapsulation, rewrapping.

    keys = dataset.map_batches(warpkem.ray.Keygen, batch_format="pyarrow", batch_size=16384, concurrency=(1, 8), num_cpus=2,
                               fn_constructor_kwargs=dict(algorithm="ML-KEM-768", job_secret="file:/run/secrets/job",
                                                          wrap_key="file:/run/secrets/wrap"))

Each object makes an engine once, with as many threads as its actor has CPUs, on the GPUs that Ray gives it. The classes need
no Ray: they are functions from table to table.

Whatever Ray runs again gives the same bytes. Randomness is derived from a job secret and a row's id (see derive()), and an
encapsulation's also from what it encapsulates to and what it protects.

Secrets do not go through Ray. Constructor arguments and columns are copied into the object store, and from there to disk. So a
secret is named, and each actor reads it where it runs: "file:/path", the bytes of a file that each node has (a secret that
the cluster manager mounts), or "env:NAME", hexadecimal digits. Secret columns leave wrapped in AES-256-GCM, as
nonce (12 bytes), ciphertext, tag (16 bytes); `allow_unwrapped=True` insists on raw ones. The associated data is the
algorithm's name and the row's id, see row_ids().

A content key is wrapped under K, where that has 32 bytes. The longer K of X25519MLKEM768 and its like are two secrets in a
row that do not depend on all of c, made for a key schedule that does. There the key is 32 bytes of SHAKE256 of the label
"WarpKEM wrap 1", the algorithm's name, and K with c behind it, each of the three preceded by its length in 8 bytes,
little-endian.
"""
from __future__ import annotations

import hashlib
import itertools
import os
from typing import Any, Iterable

import numpy as np
import pyarrow as pa

from ._engine import AnyAlgorithm, Engine
from ._library import Status, UnsupportedError, algorithm as _algorithm
from ._results import EncapsResult
from .arrow import from_numpy, new_rows, to_numpy, whole

_INVALID = int(Status["INVALID_ARGUMENT"])
_NONCE, _TAG = 12, 16


def secret(reference: str) -> bytes:
    """The secret that "file:/path" or "env:NAME" names, at least 32 bytes."""
    kind, _, name = reference.partition(":") if isinstance(reference, str) else ("", "", "")
    if kind == "file" and name:
        with open(name, "rb") as file:
            value = file.read()
    elif kind == "env" and name:
        if name not in os.environ:
            raise ValueError(f"secret {reference}: there is no such environment variable")
        try:
            value = bytes.fromhex(os.environ[name])
        except ValueError:
            raise ValueError(f"secret {reference}: not hexadecimal digits") from None
    else:
        raise ValueError("a secret goes by name, as file:/path or env:NAME, so that it stays out of Ray's object store")
    if len(value) < 32:
        raise ValueError(f"secret {reference}: has {len(value)} bytes, takes at least 32")
    return value


def _aes_key(reference: str) -> bytes:
    value = secret(reference)
    if len(value) != 32:
        raise ValueError(f"secret {reference}: has {len(value)} bytes, an AES-256 key has 32")
    return value


def _length(size: int) -> bytes:
    return int(size).to_bytes(8, "little")


def _framed(part: bytes) -> bytes:
    return _length(len(part)) + part


def _before_id(size: int, more: int) -> bytes:
    """What precedes an id of `size` bytes in a row that has `more` bytes behind it: the lengths of the row and of the id."""
    return _length(8 + size + more) + _length(size)


# Rows of a column whose values have one length, slice(None) for all, and these values as an array (rows, length).
_Groups = list[tuple[Any, np.ndarray]]


def _by_length(column: pa.Array, name: str) -> _Groups:
    """A column of bytes or strings. Rows that are null have undefined bytes, of any length."""
    kind, count = column.type, len(column)
    if pa.types.is_fixed_size_binary(kind):
        return [(slice(None), to_numpy(column, kind.byte_width))]
    wide = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)
    if not wide and not pa.types.is_string(kind) and not pa.types.is_binary(kind):
        raise ValueError(f"{name}: takes a column of bytes, got {kind}")
    if count == 0:
        return []
    _, where, data = column.buffers()
    offsets = np.frombuffer(where, np.int64 if wide else np.int32)[column.offset:column.offset + count + 1]
    text = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    lengths = np.diff(offsets)
    different = np.unique(lengths)
    if len(different) == 1:
        return [(slice(None), text[offsets[0]:offsets[-1]].reshape(count, different[0]))]
    groups = ((length, np.flatnonzero(lengths == length)) for length in different)
    return [(rows, text[offsets[rows][:, None] + np.arange(length)]) for length, rows in groups]


def _together(one: _Groups, other: _Groups) -> list[tuple[Any, np.ndarray, np.ndarray]]:
    """The rows that are in a group of both."""
    found = []
    for rows, values in one:
        for other_rows, others in other:
            if isinstance(rows, slice):
                found.append((other_rows, values[other_rows], others))
            elif isinstance(other_rows, slice):
                found.append((rows, values, others[rows]))
            else:
                both, here, there = np.intersect1d(rows, other_rows, True, True)
                found.append((both, values[here], others[there]))
    return found


def _ids(column: Any) -> _Groups:
    """A column of ids as byte strings that differ whenever the ids do: a type and the bytes."""
    column = whole(column)
    if column.null_count:
        raise ValueError("id: a row has none")
    kind = column.type
    if pa.types.is_integer(kind):
        numbers, ids = column.to_numpy(zero_copy_only=False), np.empty((len(column), 10), np.uint8)
        fields = ids.view(np.dtype([("type", "u1"), ("number", "<u8"), ("sign", "u1")]))[:, 0]
        fields["type"], fields["number"], fields["sign"] = ord("i"), numbers.astype(np.uint64), (numbers < 0) * np.uint8(255)
        return [(slice(None), ids)]
    is_string = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    if not is_string and not is_bytes:
        raise ValueError(f"id: takes whole numbers, strings or bytes, got {kind}")
    return [(rows, _with_prefix(b"s" if is_string else b"b", values)) for rows, values in _by_length(column, "id")]


def _with_prefix(prefix: bytes, values: np.ndarray) -> np.ndarray:
    made = np.empty((len(values), len(prefix) + values.shape[1]), np.uint8)
    made[:, :len(prefix)], made[:, len(prefix):] = np.frombuffer(prefix, np.uint8), values
    return made


def _each(ids: _Groups, count: int) -> list[bytes]:
    """The ids one by one."""
    if len(ids) == 1:
        size, data = ids[0][1].shape[1], ids[0][1].tobytes()
        return [data[i:i + size] for i in range(0, size * count, size)]
    found = [b""] * count
    for rows, some in ids:
        for row, one in zip(rows, some):
            found[row] = one.tobytes()
    return found


def row_ids(column: Any) -> list[bytes]:
    """A column of ids as byte strings that differ whenever the ids do: a type and the bytes."""
    return _each(_ids(column), len(column))


def _before_the_row(job_secret: bytes, purpose: str, algorithm: str, context: bytes) -> bytes:
    return b"".join(map(_framed, (b"WarpKEM derive 1", purpose.encode(), algorithm.encode(), context, job_secret)))


def derive(job_secret: bytes, purpose: str, algorithm: str, context: bytes, rows: Iterable[bytes], size: int) -> bytearray:
    """`size` bytes for each row: SHAKE256 of the label "WarpKEM derive 1", purpose, algorithm, context, job secret and row,
    each preceded by its length in 8 bytes, little-endian. A row is all that makes it differ from others."""
    common = _before_the_row(job_secret, purpose, algorithm, context)
    return bytearray().join(hashlib.shake_256(common + _framed(row)).digest(size) for row in rows)


def _engine(threads: int | None) -> Engine:
    if threads is None:
        try:
            import ray
            if ray.is_initialized():
                threads = max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1)))
        except ImportError:
            pass
    return Engine(threads=threads)


def _put(table: pa.Table, **columns: Any) -> pa.Table:
    for name, column in columns.items():
        if name in table.schema.names:
            table = table.set_column(table.schema.get_field_index(name), name, column)
        else:
            table = table.append_column(name, column)
    return table


def _column(table: pa.Table, name: str) -> Any:
    if name not in table.schema.names:
        raise ValueError(f"there is no column {name!r}; there are: {', '.join(table.schema.names)}")
    return table.column(name)


def _hashes(contents: np.ndarray) -> np.ndarray:
    """SHA3-256 of each."""
    return np.frombuffer(b"".join(hashlib.sha3_256(one).digest() for one in contents), np.uint8).reshape(-1, 32)


def _binary(groups: _Groups, status: np.ndarray) -> pa.Array:
    """A column of values of any length; null where the status is not 0."""
    place, before = np.zeros(len(status), np.int64), 0
    for rows, values in groups:
        place[rows] = before + np.arange(len(values))
        before += len(values)
    parts = [from_numpy(values).cast(pa.binary()) for _, values in groups]
    return pa.concat_arrays(parts or [pa.array([], pa.binary())]).take(pa.array(place, mask=status != 0))


class _Step:
    def __init__(self, algorithm: AnyAlgorithm, threads: int | None, insists: bool, wrapped: bool) -> None:
        if not wrapped and not insists:
            raise ValueError("secrets would leave the worker unwrapped: name a key that wraps them, or insist with "
                             "allow_unwrapped=True")
        self.algorithm = _algorithm(algorithm)
        self.engine = _engine(threads)

    def derive(self, job_secret: bytes, purpose: str, context: bytes, ids: _Groups, count: int, size: int,
               what: np.ndarray | None = None) -> np.ndarray:
        """derive() for all rows in one call of the library, (count, size). A row is its id; or, with `what`, its id with
        its length before it, and its row of `what`."""
        common = _before_the_row(job_secret, purpose, self.algorithm.name, context)
        made = np.empty((count, size), np.uint8)
        for rows, some in ids:
            own = some.shape[1]
            if what is None:
                before, parts = _length(own), [some]
            else:
                before, parts = _before_id(own, what.shape[1]), [some, what[rows]]
            if isinstance(rows, slice):
                self.engine.shake256(common + before, *parts, size=size, out=made)
            else:
                found = self.engine.shake256(common + before, *parts, size=size)
                made[rows] = found
                found[...] = 0
        return made

    def seal(self, key: np.ndarray | bytes, nonce: np.ndarray | bytes, ids: _Groups, secrets: np.ndarray | bytes,
             count: int) -> np.ndarray:
        """Wraps the secrets of all rows: nonce, ciphertext, tag of each. Bytes are the same for all."""
        size = len(secrets) if isinstance(secrets, bytes) else secrets.shape[1]
        made = new_rows(count, _NONCE + size + _TAG)
        made[:, :_NONCE] = np.frombuffer(nonce, np.uint8) if isinstance(nonce, bytes) else nonce
        for rows, some in ids:
            if isinstance(rows, slice):
                _seal(self.engine, key, nonce, self.associated(some), secrets, made[:, _NONCE:])
            else:
                own = [one if isinstance(one, bytes) else one[rows] for one in (key, nonce, secrets)]
                sealed = np.empty((len(some), size + _TAG), np.uint8)
                _seal(self.engine, own[0], own[1], self.associated(some), own[2], sealed)
                made[rows, _NONCE:] = sealed
                _wipe(*own)
        return made

    def associated(self, ids: np.ndarray) -> np.ndarray:
        return _with_prefix(self.algorithm.name.encode(), ids)

    def keys_of(self, K: np.ndarray, c: np.ndarray) -> np.ndarray:
        """The AES-256 keys that wrap, as the text above has them."""
        if K.shape[1] == 32:
            return K
        before = _framed(b"WarpKEM wrap 1") + _framed(self.algorithm.name.encode()) + _length(K.shape[1] + c.shape[1])
        return self.engine.shake256(before, K, c, size=32)


def _refuse_nulls(column: Any, status: np.ndarray) -> None:
    if column.null_count:
        status[column.is_null().to_numpy(zero_copy_only=False)] = _INVALID


def _copy(array: np.ndarray, rows: Any) -> np.ndarray:
    return array.copy() if isinstance(rows, slice) else array[rows]


def _wipe(*arrays: np.ndarray | bytes) -> None:
    for array in arrays:
        if not isinstance(array, bytes):
            array[...] = 0


def _seal(engine: Engine, key: np.ndarray | bytes, nonce: np.ndarray | bytes, aad: np.ndarray, text: np.ndarray | bytes,
          out: np.ndarray) -> None:
    try:
        engine.aes256_gcm_seal(key, nonce, aad, text, out=out)
    except UnsupportedError:  # the library that a wheel has for systems without libcrypto.so.3
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        for to, one_key, one_nonce, one_aad, one in zip(out, *map(_one_by_one, (key, nonce, aad, text))):
            to[:] = np.frombuffer(AESGCM(one_key).encrypt(one_nonce, one, one_aad), np.uint8)


def _open(engine: Engine, key: np.ndarray, nonce: np.ndarray, aad: np.ndarray, sealed: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Whether each is authentic."""
    try:
        return engine.aes256_gcm_open(key, nonce, aad, sealed, out={"text": out}).status == 0
    except UnsupportedError:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        is_open = np.zeros(len(out), bool)
        for i, (one_key, one_nonce, one_aad, one) in enumerate(zip(*map(_one_by_one, (key, nonce, aad, sealed)))):
            try:
                out[i] = np.frombuffer(AESGCM(one_key).decrypt(one_nonce, one, one_aad), np.uint8)
                is_open[i] = True
            except InvalidTag:
                pass
        return is_open


def _one_by_one(values: np.ndarray | bytes) -> Iterable[bytes]:
    return itertools.repeat(values) if isinstance(values, bytes) else (one.tobytes() for one in values)


class Keygen(_Step):
    """Adds `ek`, and `seed` (the dk as a seed), wrapped under `wrap_key` with algorithm and id as associated data.
    Each row has an id of its own, unique for the job secret and context: equal ids give equal keys."""

    def __init__(self, algorithm: AnyAlgorithm, job_secret: str, *, wrap_key: str | None = None, context: str = "",
                 id: str = "id", allow_unwrapped: bool = False, threads: int | None = None) -> None:
        super().__init__(algorithm, threads, allow_unwrapped, wrap_key is not None)
        self.secret, self.context, self.id = secret(job_secret), context.encode(), id
        self.wrapper = _aes_key(wrap_key) if wrap_key else None

    def __call__(self, table: pa.Table) -> pa.Table:
        a, count, ids = self.algorithm, len(table), _ids(_column(table, self.id))
        each = _each(ids, count)
        if len(set(each)) != count:
            raise ValueError("id: two rows have the same, and would get the same keys")
        size = a.seed_bytes["seed"]
        seeds = self.derive(self.secret, "seed", self.context, ids, count, size)
        with self.engine.keygen_derand(a, seeds, dk_format="seed") as pairs:
            pairs.raise_for_status()
            if self.wrapper:
                nonces = self.derive(self.secret, "nonce", self.context, ids, count, _NONCE)
                column = from_numpy(self.seal(self.wrapper, nonces, ids, seeds, count))
            else:
                column = from_numpy(pairs.dk.copy())
            table = _put(table, ek=from_numpy(pairs.ek), seed=column)
        _wipe(seeds)
        return table


class Encapsulate(_Step):
    """Adds `c`, `status` and `wrapped_key`: the content key, wrapped under K. Without a content key, `K` itself."""

    def __init__(self, algorithm: AnyAlgorithm, job_secret: str, *, content_key: str | None = None, context: str = "",
                 ek: str = "ek", id: str = "id", allow_unwrapped: bool = False, threads: int | None = None) -> None:
        super().__init__(algorithm, threads, allow_unwrapped, content_key is not None)
        self.secret, self.ek, self.id = secret(job_secret), ek, id
        self.content = secret(content_key) if content_key else b""
        # Another content key gets other messages, so no K and nonce ever wrap two.
        self.context = _framed(context.encode()) + hashlib.sha3_256(self.content).digest()

    def __call__(self, table: pa.Table) -> pa.Table:
        a, column = self.algorithm, _column(table, self.ek)
        ek = to_numpy(column, a.ek_bytes, self.ek)
        ids = _ids(_column(table, self.id))
        with self.encaps(ids, ek) as sent:
            status = sent.status.copy()
            _refuse_nulls(column, status)
            if self.content:
                keys = self.keys_of(sent.K, sent.c)
                # A K protects one content only, so one nonce does for all.
                last = {"wrapped_key": self.seal(keys, bytes(_NONCE), ids, self.content, len(ek))}
                _wipe(keys)
            else:
                last = {"K": sent.K.copy()}
            for one in last.values():
                one[status != 0] = 0  # a K that is zero wraps nothing
            table = _put(table, c=from_numpy(sent.c, status == 0),
                         **{name: from_numpy(one, status == 0) for name, one in last.items()}, status=pa.array(status))
        return table

    def encaps(self, ids: _Groups, ek: np.ndarray) -> EncapsResult:
        """Of all rows. An m is derive()'s, where a row is its id, with its length before it, and SHA3-256 of its ek."""
        a, count = self.algorithm, len(ek)
        common = _before_the_row(self.secret, "m", a.name, self.context)
        sent = EncapsResult(new_rows(count, a.c_bytes), np.empty((count, a.K_bytes), np.uint8), np.empty(count, np.uint8))
        for rows, some in ids:
            before = common + _before_id(some.shape[1], 32)
            if isinstance(rows, slice):
                return self.engine.encaps_derived(a, ek, before, some, out=sent)
            with self.engine.encaps_derived(a, ek[rows], before, some) as own:
                sent.c[rows], sent.K[rows], sent.status[rows] = own
        return sent


class _Opens(_Step):
    """What has a dk: one key, to which all rows were encapsulated."""

    def __init__(self, algorithm: AnyAlgorithm, dk: str, dk_format: str, c: str, wrapped_key: str | None, id: str,
                 threads: int | None, insists: bool, wrapped: bool) -> None:
        super().__init__(algorithm, threads, insists, wrapped)
        size = self.algorithm.format(dk_format)[1]
        key = secret(dk)
        if len(key) != size:
            raise ValueError(f"secret {dk}: has {len(key)} bytes, such a dk has {size}")
        self.keys = self.engine.prepare_dk(self.algorithm, key, dk_format=dk_format)
        if self.keys.status[0]:
            raise ValueError(f"secret {dk}: {Status(self.keys.status[0]).name}")
        self.c, self.wrapped_key, self.id = c, wrapped_key, id

    def open(self, table: pa.Table) -> tuple[list[tuple[Any, np.ndarray, np.ndarray]], np.ndarray]:
        """The secrets of all rows: what K unwraps, or K; in groups of rows, with their ids. And the statuses, which are not 0 for
        rows that are null or not authentic. The secrets of those are zero."""
        a, column = self.algorithm, _column(table, self.c)
        ids = _ids(_column(table, self.id))
        c = to_numpy(column, a.c_bytes, self.c)
        with self.engine.decaps_prepared(self.keys, c) as received:
            status = received.status.copy()
            _refuse_nulls(column, status)
            found: list[tuple[Any, np.ndarray, np.ndarray]] = []
            if self.wrapped_key is None:
                found = [(rows, some, _copy(received.K, rows)) for rows, some in ids]
            else:
                wrapped_keys, keys = whole(_column(table, self.wrapped_key)), self.keys_of(received.K, c)
                _refuse_nulls(wrapped_keys, status)
                for rows, some, wrapped in _together(ids, _by_length(wrapped_keys, self.wrapped_key)):
                    secrets = np.zeros((len(some), max(0, wrapped.shape[1] - _NONCE - _TAG)), np.uint8)
                    is_open = np.zeros(len(some), bool)
                    if wrapped.shape[1] >= _NONCE + _TAG:
                        key = _copy(keys, rows)
                        is_open = _open(self.engine, key, wrapped[:, :_NONCE], self.associated(some), wrapped[:, _NONCE:],
                                        secrets)
                        _wipe(key)
                    status[rows] = np.where(is_open | (status[rows] != 0), status[rows], _INVALID)
                    found.append((rows, some, secrets))
                if keys is not received.K:
                    _wipe(keys)
            for rows, _, secrets in found:
                secrets[status[rows] != 0] = 0
            return found, status


class Decapsulate(_Opens):
    """Adds `status` and `secret`: what `wrapped_key` holds (or K, where that is None), wrapped under `wrap_key`."""

    def __init__(self, algorithm: AnyAlgorithm, dk: str, *, dk_format: str = "seed", job_secret: str | None = None,
                 wrap_key: str | None = None, context: str = "", c: str = "c", wrapped_key: str | None = "wrapped_key",
                 id: str = "id", allow_unwrapped: bool = False, threads: int | None = None) -> None:
        if wrap_key and not job_secret:
            raise ValueError("wrap_key takes a job_secret too, from which nonces are derived")
        super().__init__(algorithm, dk, dk_format, c, wrapped_key, id, threads, allow_unwrapped, wrap_key is not None)
        self.wrapper = _aes_key(wrap_key) if wrap_key else None
        self.secret, self.context = secret(job_secret) if job_secret else b"", context.encode()

    def __call__(self, table: pa.Table) -> pa.Table:
        found, status = self.open(table)
        made = []
        for rows, ids, secrets in found:
            if self.wrapper is None:
                made.append((rows, secrets))
                continue
            all_ids, count = [(slice(None), ids)], len(ids)
            nonces = self.derive(self.secret, "nonce of a secret", self.context, all_ids, count, _NONCE, _hashes(secrets))
            made.append((rows, self.seal(self.wrapper, nonces, all_ids, secrets, count)))
        table = _put(table, secret=_binary(made, status), status=pa.array(status))
        _wipe(*(secrets for _, _, secrets in found))
        return table


class Rewrap(_Opens):
    """Replaces `c` and `wrapped_key`, which are under an old key, by such under a new one, and adds `status`."""

    def __init__(self, algorithm: AnyAlgorithm, dk: str, new_ek: bytes, job_secret: str, *, dk_format: str = "seed",
                 context: str = "", c: str = "c", wrapped_key: str = "wrapped_key", id: str = "id",
                 threads: int | None = None) -> None:
        super().__init__(algorithm, dk, dk_format, c, wrapped_key, id, threads, False, True)
        self.new = self.engine.prepare_ek(self.algorithm, new_ek)
        if self.new.status[0]:
            raise ValueError(f"new_ek: {Status(self.new.status[0]).name}")
        self.secret = secret(job_secret)
        self.context = _framed(context.encode()) + hashlib.sha3_256(new_ek).digest()

    def __call__(self, table: pa.Table) -> pa.Table:
        a = self.algorithm
        found, status = self.open(table)
        # Another content gets another message, so no K ever wraps two.
        m = np.empty((len(table), a.m_bytes), np.uint8)
        for rows, ids, contents in found:
            m[rows] = own = self.derive(self.secret, "m of a rewrap", self.context, [(slice(None), ids)], len(ids), a.m_bytes,
                                        _hashes(contents))
            _wipe(own)
        with self.engine.encaps_prepared(self.new, m=m) as sent:
            sent.raise_for_status()
            keys, made = self.keys_of(sent.K, sent.c), []
            for rows, ids, contents in found:
                key = _copy(keys, rows)
                made.append((rows, self.seal(key, bytes(_NONCE), [(slice(None), ids)], contents, len(ids))))
                _wipe(key, contents)
            table = _put(table, **{self.c: from_numpy(sent.c, status == 0), str(self.wrapped_key): _binary(made, status)},
                         status=pa.array(status))
            _wipe(m, keys)
        return table
