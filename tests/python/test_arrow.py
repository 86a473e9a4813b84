"""Columns of Arrow: no copy, slices, chunks, nulls."""
import numpy as np
import pyarrow as pa
import pytest

import warpkem
from conftest import random_bytes
from warpkem import arrow

P = "ML-KEM-768"


def rows(column):
    return np.array([list(one.as_py()) if one.is_valid else [0] * column.type.byte_width for one in column], np.uint8)


def test_columns_share_the_memory_of_the_arrays():
    array = random_bytes(1, 10, 1184)
    column = arrow.from_numpy(array)
    assert column.type == pa.binary(1184) and (rows(column) == array).all()
    assert column.buffers()[1].address == array.ctypes.data
    view = arrow.to_numpy(column.slice(3, 4), 1184)
    assert view.ctypes.data == array[3:].ctypes.data and (view == array[3:7]).all() and not view.flags.writeable


def test_every_operation_agrees_with_numpys(engine, name):
    a = warpkem.algorithm(name)
    try:
        pairs = arrow.keygen(engine, name, 7)
    except warpkem.UnsupportedError as error:
        pytest.skip(str(error))
    sent = arrow.encaps(engine, name, pairs["ek"])
    received = arrow.decaps(engine, name, pairs["dk"], sent["c"])
    assert received["K"].equals(sent["K"]) and sent["status"].to_pylist() == [0] * 7
    assert sent.schema.names == ["c", "K", "status"] and sent["c"].type == pa.binary(a.c_bytes)
    assert arrow.check_ek(engine, name, pairs["ek"])["status"].to_pylist() == [0] * 7
    if a.m_bytes:
        m = random_bytes(2, 7, a.m_bytes)
        expected = engine.encaps_derand(name, arrow.to_numpy(pairs["ek"], a.ek_bytes), m)
        got = arrow.encaps_derand(engine, name, pairs["ek"], arrow.from_numpy(m))
        assert (rows(got["c"]) == expected.c).all() and (rows(got["K"]) == expected.K).all()


def test_chunks_and_slices(engine):
    pairs = arrow.keygen(engine, P, 9)
    chunked = pa.chunked_array([pairs["ek"].slice(0, 4), pairs["ek"].slice(4)])
    m = arrow.from_numpy(random_bytes(3, 9, 32))
    expected = arrow.encaps_derand(engine, P, pairs["ek"], m)
    assert arrow.encaps_derand(engine, P, chunked, m).equals(expected)
    assert arrow.encaps_derand(engine, P, pairs["ek"].slice(2, 5), m.slice(2, 5)).equals(expected.slice(2, 5))
    assert len(arrow.encaps(engine, P, pairs["ek"].slice(0, 0))) == 0


def test_nulls_and_bad_keys_have_a_status_and_no_value(engine):
    ek = arrow.to_numpy(arrow.keygen(engine, P, 9)["ek"], 1184).copy()
    ek[5] = 255
    valid = np.ones(9, bool)
    valid[[0, 8]] = False
    column, m = arrow.from_numpy(ek, valid), random_bytes(4, 9, 32)
    got = arrow.encaps_derand(engine, P, column, arrow.from_numpy(m))
    assert got["status"].to_pylist() == [1, 0, 0, 0, 0, 3, 0, 0, 1]
    assert got["K"].is_null().to_pylist() == got["c"].is_null().to_pylist() == [s != 0 for s in got["status"].to_pylist()]
    expected = engine.encaps_derand(P, ek, m)
    good = got["status"].to_numpy() == 0
    assert (rows(got["c"])[good] == expected.c[good]).all() and (rows(got["K"])[good] == expected.K[good]).all()
    part = arrow.encaps_derand(engine, P, column.slice(4), arrow.from_numpy(m).slice(4))
    assert part.equals(got.slice(4))
    nothing = arrow.encaps(engine, P, pa.nulls(3, pa.binary(1184)))
    assert nothing["status"].to_pylist() == [1] * 3 and nothing["K"].null_count == 3


def test_wrong_columns_are_refused(engine):
    for column in (pa.array([b"x"]), pa.array([b"x" * 1183], pa.binary(1183)), pa.array([1]), [b"x" * 1184], None):
        with pytest.raises(ValueError, match=r"ek: takes a column of fixed_size_binary\[1184\]"):
            arrow.encaps(engine, P, column)
    ek = arrow.keygen(engine, P, 2)["ek"]
    with pytest.raises(ValueError, match="different lengths: ek 2, m 3"):
        arrow.encaps_derand(engine, P, ek, arrow.from_numpy(random_bytes(1, 3, 32)))
