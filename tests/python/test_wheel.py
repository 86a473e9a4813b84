"""The wheel as it is installed: one library with OpenSSL, one without, and the choice between them."""
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import warpkem

PACKAGE = pathlib.Path(warpkem.__file__).parent
AGREE = pathlib.Path(__file__).resolve().parents[2] / "tools" / "python" / "examples" / "agree.py"
pytestmark = pytest.mark.skipif(not (PACKAGE / "lib").is_dir(), reason="the package is not installed from a wheel")
# A job's step, which wraps what it makes.
STEP = """
import os, pyarrow
from warpkem import ray
os.environ["JOB"] = os.environ["WRAP"] = "ab" * 32
made = ray.Keygen("ML-KEM-512", "env:JOB", wrap_key="env:WRAP")(pyarrow.table({"id": [1, 2]}))
print(made.column("seed")[1].as_py().hex())
"""
MAPS = "\nprint([line.split()[-1] for line in open('/proc/self/maps') if 'libwarpkem' in line or 'libcrypto' in line])"


def agree(package):
    """Runs the README's lines with a package of that place; what was loaded, and what is wrapped."""
    environment = {key: value for key, value in os.environ.items() if key != "WARPKEM_LIBRARY"}
    code = f"import sys; sys.path.insert(0, {str(package.parent)!r})\n" + AGREE.read_text() + MAPS + STEP
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, env=environment, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_readmes_lines_run_with_and_without_libcrypto(tmp_path):
    loaded, wrapped = agree(PACKAGE)
    assert f"{PACKAGE}/lib/libwarpkem" in loaded
    copy = tmp_path / "warpkem"
    shutil.copytree(PACKAGE, copy)
    # What cannot be loaded: here a broken file, elsewhere a library whose libcrypto.so.3 is not there.
    next((copy / "lib").glob("libwarpkem.so.*")).write_bytes(b"\x7fELF")
    loaded, wrapped_without = agree(copy)
    assert f"{copy}/kernel/libwarpkem" in loaded and "libcrypto" not in loaded
    assert wrapped_without == wrapped  # by `cryptography`


def test_the_wheel_carries_no_libcrypto_and_is_typed():
    names = {path.name for path in PACKAGE.rglob("*")} | {path.name for path in PACKAGE.parent.glob("warpkem.libs/*")}
    assert not any("crypto" in name for name in names) and {"py.typed", "LICENSE"} <= names
