"""Arrays on a CUDA device: a GPU's, or an emulated one's. Objects with the two interfaces stand in for other packages' arrays."""
import ctypes

import numpy as np
import pytest

import warpkem
from conftest import random_bytes
from warpkem import _device

P = "ML-KEM-768"


@pytest.fixture(scope="module")
def cuda():
    try:
        engine = warpkem.Engine("cuda")
    except warpkem.Error as error:
        pytest.skip(f"no CUDA device: {error}")
    yield engine
    engine.close()


class Foreign:
    """An array of another package: memory on the device, with the array interface."""

    def __init__(self, engine, content, stride=None, read_only=False, stream=1):
        content = np.ascontiguousarray(content)
        count, size = content.shape
        self.stride = stride or size
        wide = np.full((count, self.stride), 0xA5, np.uint8)
        wide[:, :size] = content
        self.memory = _device.Memory(engine._handle, max(wide.size, 1), 0)
        self.wide = wide
        if wide.size:
            self.memory.copy(self.memory.pointer, wide.ctypes.data, wide.size)
        self.interface = {"version": 3, "shape": content.shape, "typestr": "|u1", "strides": (self.stride, 1),
                          "data": (self.memory.pointer, read_only), "stream": stream}

    @property
    def __cuda_array_interface__(self):
        return self.interface

    def get(self):
        back = np.empty_like(self.wide)
        self.memory.copy(back.ctypes.data, self.memory.pointer, back.size)
        return back


class Dlpack:
    """The same through DLPack."""

    def __init__(self, foreign):
        self.foreign = foreign

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, stream=None):
        assert stream == 1
        shape = self.foreign.interface["shape"]
        self.shape, self.strides = (ctypes.c_int64 * 2)(*shape), (ctypes.c_int64 * 2)(self.foreign.stride, 1)
        self.tensor = _device._Tensor(self.foreign.memory.pointer, 2, 0, 2, 1, 8, 1, self.shape, self.strides, 0)
        new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
            ("PyCapsule_New", ctypes.pythonapi))
        return new(ctypes.addressof(self.tensor), b"dltensor", None)


@pytest.mark.parametrize("wrap", [lambda one: one, Dlpack], ids=["interface", "dlpack"])
@pytest.mark.parametrize("stride", [0, 1200], ids=["packed", "strided"])
def test_the_device_gives_the_hosts_bytes(cuda, engine, wrap, stride):
    seeds, m = random_bytes(1, 5, 64), random_bytes(2, 5, 32)
    pairs, on_device = engine.keygen_derand(P, seeds), cuda.keygen_derand(P, wrap(Foreign(cuda, seeds)))
    assert (on_device.ek.to_numpy() == pairs.ek).all() and (np.asarray(on_device.dk) == pairs.dk).all()
    sent = cuda.encaps_derand(P, wrap(Foreign(cuda, pairs.ek, stride)), wrap(Foreign(cuda, m))).raise_for_status()
    expected = engine.encaps_derand(P, pairs.ek, m)
    assert (sent.c.to_numpy() == expected.c).all() and (sent.K.to_numpy() == expected.K).all()
    received = cuda.decaps(P, on_device.dk, sent.c)  # what the package returns, it takes
    assert (received.K.to_numpy() == expected.K).all() and received.ok


def test_randomness_outputs_statuses_and_wiping(cuda, engine):
    ek = engine.keygen(P, 4).ek.copy()
    ek[2] = 255
    out = {"c": Foreign(cuda, np.zeros((4, 1088), np.uint8), 1100), "K": Foreign(cuda, np.zeros((4, 32), np.uint8))}
    sent = cuda.encaps(P, Foreign(cuda, ek, read_only=True), out=out)
    assert sent.c is out["c"] and np.asarray(sent.status).tolist() == [0, 0, 3, 0] and not sent.ok
    with pytest.raises(warpkem.ItemError, match="item 2"):
        sent.raise_for_status()
    assert (sent.c.get()[:, 1088:] == 0xA5).all() and sent.K.get()[[0, 1, 3]].any(axis=1).all()
    with cuda.encaps(P, Foreign(cuda, ek)) as again:
        K = again.K
        assert K.to_numpy().any() and (K.to_numpy() != sent.K.get()).any()
    assert not K.to_numpy().any()
    assert cuda.encaps(P, Foreign(cuda, np.zeros((0, 1184), np.uint8))).c.shape == (0, 1088)


def test_wrong_device_arrays_are_refused(cuda):
    good = Foreign(cuda, np.zeros((2, 1184), np.uint8))
    for change in ({"typestr": "|i1"}, {"shape": (2, 1183)}, {"shape": (2368,)}, {"strides": (1183, 1)},
                   {"strides": (-1184, 1)}, {"strides": (1184, 2)}, {"mask": good}):
        wrong = Foreign(cuda, np.zeros((2, 1184), np.uint8))
        wrong.interface.update(change)
        with pytest.raises(ValueError, match="ek"):
            cuda.encaps(P, wrong)
    with pytest.raises(ValueError, match="m: takes an array on the device"):
        cuda.encaps_derand(P, good, np.zeros((2, 32), np.uint8))
    with pytest.raises(ValueError, match="c is read-only"):
        cuda.encaps(P, good, out={"c": Foreign(cuda, np.zeros((2, 1088), np.uint8), read_only=True)})


def test_cupy_arrays(cuda, engine):
    cupy = pytest.importorskip("cupy")
    ek, m = engine.keygen(P, 100).ek, random_bytes(3, 100, 32)
    with cupy.cuda.Stream(non_blocking=True):
        sent = cuda.encaps_derand(P, cupy.asarray(ek), cupy.asarray(m))
        K = cupy.asnumpy(cupy.asarray(sent.K))
    assert (K == engine.encaps_derand(P, ek, m).K).all()
