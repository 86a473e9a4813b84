"""Ray on a local cluster of two nodes: the same bytes as without Ray, also when a node is killed in the middle."""
import errno
import os
import pathlib
import shutil
import tempfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import warpkem.ray
from conftest import random_bytes
from test_jobs import contents, finish, ids, mint, start, undisturbed
from warpkem import jobs

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402


@pytest.fixture(scope="module")
def folder():
    # Short, for the names of sockets are.
    path = tempfile.mkdtemp(prefix="wk")
    yield pathlib.Path(path)
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def cluster(folder):
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_TMPDIR=str(folder))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 << 20,
                                                         "include_dashboard": False})
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def second(cluster):
    node = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    cluster.wait_for_nodes()
    yield node
    if node in cluster.list_all_nodes():
        cluster.remove_node(node)


@pytest.fixture
def secrets(folder):
    made = {}
    for number, name in enumerate(("job", "wrap")):
        (folder / name).write_bytes(random_bytes(number + 60, 32).tobytes())
        made[name] = f"file:{folder / name}"
    return made


def test_a_job_whose_node_is_killed_gives_an_undisturbed_runs_output(cluster, second, secrets, tmp_path):
    whole = undisturbed(secrets, tmp_path / "whole", 16000)
    out = tmp_path / "out"
    process = start("mint_prekeys.py", *mint(secrets, out, "--ray", "auto", users=400))
    deadline = time.monotonic() + 120
    while len(jobs.parts(out)) < 10 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert process.poll() is None and 10 <= len(jobs.parts(out)) < 160
    cluster.remove_node(second, allow_graceful=False)
    finish(process)
    assert contents(out) == whole


def read(path):
    try:
        return path.read_bytes()
    except FileNotFoundError:  # Ray has just deleted it
        return b""


def test_map_batches_gives_the_same_and_no_secret_is_in_rays_files(cluster, second, secrets, folder, tmp_path):
    step = warpkem.ray.Keygen("ML-KEM-768", secrets["job"], wrap_key=secrets["wrap"])
    expected = step(ids(3000))
    # Neither the secrets of the job nor what is derived from them.
    raw = warpkem.ray.Keygen("ML-KEM-768", secrets["job"], allow_unwrapped=True)(ids(3000)).column("seed").to_pylist()
    wanted = [warpkem.ray.secret(one) for one in secrets.values()] + raw[::100]
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        # What a task of a job meets is raised as it is.
        class Full:
            def __call__(self, table):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as met:
            jobs.run(jobs.Job(jobs.Made(10, 10), Full, {}, None, tmp_path / "full"), [], cluster.address)
        assert met.type is OSError and [path.name for path in (tmp_path / "full").iterdir()] == ["job.json"]

        ray.data.DataContext.get_current().enable_progress_bars = False
        dataset = ray.data.from_arrow([ids(3000).slice(i, 500) for i in range(0, 3000, 500)])
        dataset = dataset.map_batches(
            warpkem.ray.Keygen, batch_format="pyarrow", batch_size=200, concurrency=(1, 2), num_cpus=1,
            fn_constructor_kwargs={"algorithm": "ML-KEM-768", "job_secret": secrets["job"], "wrap_key": secrets["wrap"]})
        dataset = dataset.materialize()
        # More than both stores hold, so that they spill what they have; the large ones perhaps first.
        fill = ray.remote(num_cpus=1)(lambda number: np.full(40 << 20, number, np.uint8))
        public, full, spilled = expected.column("ek").to_pylist()[::100], [], []
        while not any(one in text for one in public for text in spilled):
            assert len(full) < 24, "the public keys beside the secrets were not spilled"
            full += [fill.remote(i) for i in range(4)]
            ray.wait(full, num_returns=len(full), fetch_local=False)
            spilled = [read(path) for path in folder.rglob("ray_spilled_objects*/*")]
        assert not any(one in text for one in wanted for text in spilled)
        del full, spilled
        dataset.write_parquet(str(tmp_path / "keys"))
        table = pq.read_table(tmp_path / "keys").sort_by("id")
    finally:
        ray.shutdown()
    assert table.column("ek").type == pa.binary(1184)
    assert table.select(expected.schema.names).combine_chunks().equals(expected.combine_chunks())
    files = [path for path in (folder / "ray").rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    for path in files:
        text = read(path)
        assert not any(one in text or one.hex().encode() in text for one in wanted), path
