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
nonce (12 bytes), ciphertext, tag (16 bytes); `allow_unwrapped=True` insists on raw ones.
"""
from __future__ import annotations

import hashlib
import os
from typing import Any, Iterable, Sequence

import numpy as np
import pyarrow as pa

from ._engine import AnyAlgorithm, Engine
from ._library import Status, algorithm as _algorithm
from .arrow import from_numpy, to_numpy

_INVALID = int(Status["INVALID_ARGUMENT"])
_NONCE = 12


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


def _framed(part: bytes) -> bytes:
    return len(part).to_bytes(8, "little") + part


def row_ids(column: Any) -> list[bytes]:
    """A column of ids as byte strings that differ whenever the ids do: a type and the bytes."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if column.null_count:
        raise ValueError("id: a row has none")
    if pa.types.is_integer(column.type):
        return [b"i" + one.to_bytes(9, "little", signed=True) for one in column.to_pylist()]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return [b"s" + one.encode() for one in column.to_pylist()]
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type) or \
            pa.types.is_fixed_size_binary(column.type):
        return [b"b" + one for one in column.to_pylist()]
    raise ValueError(f"id: takes whole numbers, strings or bytes, got {column.type}")


def derive(job_secret: bytes, purpose: str, algorithm: str, context: bytes, rows: Iterable[bytes], size: int) -> bytearray:
    """`size` bytes for each row: SHAKE256 of the label "WarpKEM derive 1", purpose, algorithm, context, job secret and row,
    each preceded by its length in 8 bytes, little-endian. A row is all that makes it differ from others."""
    common = hashlib.shake_256(b"".join(map(_framed, (b"WarpKEM derive 1", purpose.encode(), algorithm.encode(), context,
                                                      job_secret))))
    out = bytearray()
    for row in rows:
        own = common.copy()
        own.update(_framed(row))
        out += own.digest(size)
    return out


def _engine(threads: int | None) -> Engine:
    if threads is None:
        try:
            import ray
            if ray.is_initialized():
                threads = max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1)))
        except ImportError:
            pass
    return Engine(threads=threads)


def _array(data: bytearray, size: int) -> np.ndarray:
    return np.frombuffer(data, np.uint8).reshape(-1, size)


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


def _binary(values: Sequence[bytes | None], size: int) -> pa.Array:
    return pa.array(values, pa.binary(size))


class _Step:
    def __init__(self, algorithm: AnyAlgorithm, threads: int | None, insists: bool, wrapped: bool) -> None:
        if not wrapped and not insists:
            raise ValueError("secrets would leave the worker unwrapped: name a key that wraps them, or insist with "
                             "allow_unwrapped=True")
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        self.aes = AESGCM
        self.algorithm = _algorithm(algorithm)
        self.engine = _engine(threads)


class Keygen(_Step):
    """Adds `ek`, and `seed` (the dk as a seed), wrapped under `wrap_key` with algorithm and id as associated data.
    Each row has an id of its own, unique for the job secret and context: equal ids give equal keys."""

    def __init__(self, algorithm: AnyAlgorithm, job_secret: str, *, wrap_key: str | None = None, context: str = "",
                 id: str = "id", allow_unwrapped: bool = False, threads: int | None = None) -> None:
        super().__init__(algorithm, threads, allow_unwrapped, wrap_key is not None)
        self.secret, self.context, self.id = secret(job_secret), context.encode(), id
        self.wrapper = self.aes(_aes_key(wrap_key)) if wrap_key else None

    def __call__(self, table: pa.Table) -> pa.Table:
        a, ids = self.algorithm, row_ids(_column(table, self.id))
        if len(set(ids)) != len(ids):
            raise ValueError("id: two rows have the same, and would get the same keys")
        size = a.seed_bytes["seed"]
        seeds = derive(self.secret, "seed", a.name, self.context, ids, size)
        with self.engine.keygen_derand(a, _array(seeds, size), dk_format="seed") as pairs:
            pairs.raise_for_status()
            if self.wrapper:
                nonces = derive(self.secret, "nonce", a.name, self.context, ids, _NONCE)
                name = a.name.encode()
                wrapped = []
                for i, row in enumerate(ids):
                    nonce = bytes(nonces[_NONCE * i:_NONCE * (i + 1)])
                    wrapped.append(nonce + self.wrapper.encrypt(nonce, memoryview(seeds)[size * i:size * (i + 1)],
                                                                name + row))
                column = _binary(wrapped, _NONCE + size + 16)
            else:
                column = from_numpy(pairs.dk.copy())
            table = _put(table, ek=from_numpy(pairs.ek), seed=column)
        _array(seeds, size)[...] = 0
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
        ids = row_ids(_column(table, self.id))
        rows = (_framed(one) + key.tobytes() for one, key in zip(ids, ek))
        m = derive(self.secret, "m", a.name, self.context, rows, a.m_bytes)
        with self.engine.encaps_derand(a, ek, _array(m, a.m_bytes)) as sent:
            status = sent.status.copy()
            if column.null_count:
                status[column.is_null().to_numpy()] = _INVALID
            if self.content:
                last = _binary(_wrap_each(self, sent.K, status, ids, self.content), _NONCE + len(self.content) + 16)
                table = _put(table, c=from_numpy(sent.c, status == 0), wrapped_key=last, status=pa.array(status))
            else:
                table = _put(table, c=from_numpy(sent.c, status == 0), K=from_numpy(sent.K.copy(), status == 0),
                             status=pa.array(status))
        _array(m, a.m_bytes)[...] = 0
        return table


def _wrap_each(step: _Step, K: np.ndarray, status: np.ndarray, ids: list[bytes], content: bytes | list) -> list:
    """The content wrapped under each K, with a zero nonce: a K protects one content only."""
    if K.shape[1] != 32:
        raise ValueError(f"{step.algorithm.name}: its K is for a key schedule, not for wrapping")
    nonce, name = bytes(_NONCE), step.algorithm.name.encode()
    return [None if bad else nonce + step.aes(key.tobytes()).encrypt(
        nonce, content if isinstance(content, bytes) else content[i], name + ids[i])
        for i, (key, bad) in enumerate(zip(K, status))]


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

    def open(self, table: pa.Table) -> tuple[list[bytes | None], np.ndarray, list[bytes]]:
        """The secrets of all rows: what K unwraps, or K. None, and a status, for rows that are null or not authentic."""
        a, column = self.algorithm, _column(table, self.c)
        ids = row_ids(_column(table, self.id))
        c = to_numpy(column, a.c_bytes, self.c)
        with self.engine.decaps_prepared(self.keys, c) as received:
            status = received.status.copy()
            if column.null_count:
                status[column.is_null().to_numpy()] = _INVALID
            if self.wrapped_key is None:
                return [None if bad else K.tobytes() for K, bad in zip(received.K, status)], status, ids
            from cryptography.exceptions import InvalidTag
            found: list[bytes | None] = []
            name = a.name.encode()
            for i, wrapped in enumerate(_column(table, self.wrapped_key).to_pylist()):
                content = None
                if not status[i]:
                    try:
                        content = self.aes(received.K[i].tobytes()).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], name + ids[i])
                    except (InvalidTag, TypeError, ValueError):
                        status[i] = _INVALID
                found.append(content)
            return found, status, ids


class Decapsulate(_Opens):
    """Adds `status` and `secret`: what `wrapped_key` holds (or K, where that is None), wrapped under `wrap_key`."""

    def __init__(self, algorithm: AnyAlgorithm, dk: str, *, dk_format: str = "seed", job_secret: str | None = None,
                 wrap_key: str | None = None, context: str = "", c: str = "c", wrapped_key: str | None = "wrapped_key",
                 id: str = "id", allow_unwrapped: bool = False, threads: int | None = None) -> None:
        if wrap_key and not job_secret:
            raise ValueError("wrap_key takes a job_secret too, from which nonces are derived")
        super().__init__(algorithm, dk, dk_format, c, wrapped_key, id, threads, allow_unwrapped, wrap_key is not None)
        self.wrapper = self.aes(_aes_key(wrap_key)) if wrap_key else None
        self.secret, self.context = secret(job_secret) if job_secret else b"", context.encode()

    def __call__(self, table: pa.Table) -> pa.Table:
        contents, status, ids = self.open(table)
        if self.wrapper:
            name = self.algorithm.name.encode()
            rows = [_framed(one) + hashlib.sha3_256(content or b"").digest() for one, content in zip(ids, contents)]
            nonces = derive(self.secret, "nonce of a secret", self.algorithm.name, self.context, rows, _NONCE)
            for i, content in enumerate(contents):
                if content is not None:
                    nonce = bytes(nonces[_NONCE * i:_NONCE * (i + 1)])
                    contents[i] = nonce + self.wrapper.encrypt(nonce, content, name + ids[i])
        return _put(table, secret=pa.array(contents, pa.binary()), status=pa.array(status))


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
        contents, status, ids = self.open(table)
        # Another content gets another message, so no K ever wraps two.
        rows = (_framed(one) + hashlib.sha3_256(content or b"").digest() for one, content in zip(ids, contents))
        m = derive(self.secret, "m of a rewrap", a.name, self.context, rows, a.m_bytes)
        with self.engine.encaps_prepared(self.new, m=_array(m, a.m_bytes)) as sent:
            sent.raise_for_status()
            wrapped = _wrap_each(self, sent.K, status, ids, contents)
            table = _put(table, **{self.c: from_numpy(sent.c, status == 0), str(self.wrapped_key): pa.array(wrapped, pa.binary())},
                         status=pa.array(status))
        _array(m, a.m_bytes)[...] = 0
        return table
