"""What the tests share. WARPKEM_TOOL names the command-line tool; WARPKEM_LONG_TESTS asks for the long forms."""
import os
import pathlib
import sys

import numpy as np
import pytest

import warpkem

ROOT = pathlib.Path(__file__).resolve().parents[2]
LONG = bool(os.environ.get("WARPKEM_LONG_TESTS"))
sys.path.insert(0, str(ROOT / "tools" / "python" / "examples"))


@pytest.fixture(scope="session")
def engine():
    with warpkem.Engine() as made:
        yield made


@pytest.fixture(params=[one.name for one in warpkem.algorithms])
def name(request):
    return request.param


def random_bytes(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
