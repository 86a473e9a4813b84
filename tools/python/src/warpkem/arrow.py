"""Columns of Arrow: FixedSizeBinary arrays in and out, without a copy of the records.

A null in an input gives the item the status INVALID_ARGUMENT. What a bad item has no value for is null in the output.
Each function returns a RecordBatch with a column `status` (uint8) beside its outputs.
"""
from __future__ import annotations

from typing import Any, Callable

import numpy as np
import pyarrow as pa

from ._engine import AnyAlgorithm, Engine
from ._library import Status, algorithm as _algorithm

_NULL = np.uint8(Status["INVALID_ARGUMENT"])


def whole(column: Any) -> Any:
    """A column as one array, without a copy if it has one chunk."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def to_numpy(column: Any, size: int, name: str = "column") -> np.ndarray:
    """The records of a FixedSizeBinary column as a read-only array (n, size) over the column's memory. Rows that are null
    have undefined bytes. A column of several chunks is first put into one."""
    column = whole(column)
    if not isinstance(column, pa.FixedSizeBinaryArray) or column.type.byte_width != size:
        raise ValueError(f"{name}: takes a column of fixed_size_binary[{size}], got {getattr(column, 'type', type(column))}")
    buffer = column.buffers()[1]
    if buffer is None or len(column) == 0:
        return np.zeros((len(column), size), np.uint8)
    rows = np.frombuffer(buffer, np.uint8, len(column) * size, column.offset * size).reshape(-1, size)
    rows.flags.writeable = False  # Arrow's arrays are immutable, whoever owns the memory
    return rows


def new_rows(count: int, size: int) -> np.ndarray:
    """An array (count, size) for what will be a column. Its memory is of Arrow's pool, which has pages at hand."""
    return np.frombuffer(pa.allocate_buffer(count * size), np.uint8).reshape(count, size)


def from_numpy(array: np.ndarray, valid: np.ndarray | None = None) -> pa.FixedSizeBinaryArray:
    """A column over the memory of an array (n, size). Rows where `valid` is False are null."""
    count, size = array.shape
    bitmap = None
    if valid is not None and not valid.all():
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(size), count, [bitmap, pa.py_buffer(np.ascontiguousarray(array))])


def _run(call: Callable[..., Any], **columns: tuple[Any, int]) -> pa.RecordBatch:
    """Runs a call on the rows that have no null."""
    arrays = {name: to_numpy(column, size, name) for name, (column, size) in columns.items()}
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"columns of different lengths: {', '.join(f'{name} {count}' for name, count in counts.items())}")
    nulls = [column.is_null().to_numpy(zero_copy_only=False) for column, _ in columns.values() if column.null_count]
    if not nulls:
        result = call(**arrays)
        status, outputs = result.status, [(name, getattr(result, name)) for name in result._fields if name != "status"]
    else:
        rows = np.flatnonzero(~np.any(nulls, axis=0))
        result = call(**{name: array[rows] for name, array in arrays.items()})
        count = next(iter(counts.values()))
        status, outputs = np.full(count, _NULL), []
        status[rows] = result.status
        for name in result._fields:
            if name != "status":
                array = np.zeros((count, getattr(result, name).shape[1]), np.uint8)
                array[rows] = getattr(result, name)
                outputs.append((name, array))
        result.wipe()
    valid = status == 0
    return pa.RecordBatch.from_arrays([*(from_numpy(array, valid) for _, array in outputs), pa.array(status)],
                                      names=[*(name for name, _ in outputs), "status"])


def keygen(engine: Engine, algorithm: AnyAlgorithm, count: int, *, dk_format: str | None = None) -> pa.RecordBatch:
    """`count` key pairs: columns ek, dk, status."""
    result = engine.keygen(algorithm, count, dk_format=dk_format)
    return pa.RecordBatch.from_arrays([from_numpy(result.ek), from_numpy(result.dk), pa.array(result.status)],
                                      names=["ek", "dk", "status"])


def keygen_derand(engine: Engine, algorithm: AnyAlgorithm, seeds: Any, *, dk_format: str | None = None) -> pa.RecordBatch:
    """The same from a column of seeds."""
    a = _algorithm(algorithm)
    dk_format = a.form(dk_format)
    a.format(dk_format)
    return _run(lambda seeds: engine.keygen_derand(a, seeds, dk_format=dk_format), seeds=(seeds, a.seed_bytes[dk_format]))


def encaps(engine: Engine, algorithm: AnyAlgorithm, ek: Any) -> pa.RecordBatch:
    """Encapsulates to a column of keys: columns c, K, status."""
    a = _algorithm(algorithm)
    return _run(lambda ek: engine.encaps(a, ek, out={"c": new_rows(len(ek), a.c_bytes)}), ek=(ek, a.ek_bytes))


def encaps_derand(engine: Engine, algorithm: AnyAlgorithm, ek: Any, m: Any) -> pa.RecordBatch:
    """The same with a column of given randomness."""
    a = _algorithm(algorithm)
    return _run(lambda ek, m: engine.encaps_derand(a, ek, m, out={"c": new_rows(len(ek), a.c_bytes)}), ek=(ek, a.ek_bytes),
                m=(m, a.m_bytes))


def decaps(engine: Engine, algorithm: AnyAlgorithm, dk: Any, c: Any, *, dk_format: str | None = None) -> pa.RecordBatch:
    """Decapsulates a column of ciphertexts, each with the key of its row: columns K, status."""
    a = _algorithm(algorithm)
    dk_format = a.form(dk_format)
    return _run(lambda dk, c: engine.decaps(a, dk, c, dk_format=dk_format), dk=(dk, a.format(dk_format)[1]), c=(c, a.c_bytes))


def check_ek(engine: Engine, algorithm: AnyAlgorithm, ek: Any) -> pa.RecordBatch:
    """Checks a column of encapsulation keys: column status."""
    a = _algorithm(algorithm)
    return _run(lambda ek: engine.check_ek(a, ek), ek=(ek, a.ek_bytes))
