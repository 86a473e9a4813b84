"""What the example jobs share: Parquet to Parquet in parts, with a progress bar, resumed after a kill, in one process or on Ray.

A task is a row group of the input, or a range of rows that are made. It writes a file for each `rows_per_part` rows,
part-TASK-NUMBER.parquet, which appears whole or not at all. A job that is started again makes the parts that are missing.
Every part is a function of the job's parameters, so it does not matter who makes it, how often, or where.
"""
from __future__ import annotations

import hashlib
import json
import os
import pathlib
import socket
from typing import Any, Callable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

Step = Callable[[pa.Table], pa.Table]


class Made:
    """Input that is made: a column `id` with the numbers from 0 on."""

    def __init__(self, rows: int, rows_per_part: int, parts_per_task: int = 8) -> None:
        self.total, self.rows_per_part, self.rows_per_task = rows, rows_per_part, rows_per_part * parts_per_task

    def identity(self) -> Any:
        return ["made", self.total, self.rows_per_part]

    def tasks(self) -> list[int]:
        return [min(self.rows_per_task, self.total - first) for first in range(0, self.total, self.rows_per_task)]

    def batches(self, task: int, wanted: Callable[[int], bool]) -> Iterator[tuple[int, pa.Table]]:
        first, end = task * self.rows_per_task, min(self.total, (task + 1) * self.rows_per_task)
        for number, start in enumerate(range(first, end, self.rows_per_part)):
            if wanted(number):
                yield number, pa.table({"id": pa.array(range(start, min(end, start + self.rows_per_part)), pa.int64())})


class Parquet:
    """A Parquet file. Where there is no column `id`, a row's number is its id."""

    def __init__(self, path: str | os.PathLike, rows_per_part: int) -> None:
        self.path, self.rows_per_part = os.path.abspath(path), rows_per_part
        with pq.ParquetFile(self.path) as file:
            meta = file.metadata
            self.groups = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
        self.total = sum(self.groups)

    def identity(self) -> Any:
        stat = os.stat(self.path)
        return ["parquet", stat.st_size, stat.st_mtime_ns, self.groups, self.rows_per_part]

    def tasks(self) -> list[int]:
        return self.groups

    def batches(self, task: int, wanted: Callable[[int], bool]) -> Iterator[tuple[int, pa.Table]]:
        parts = -(-self.groups[task] // self.rows_per_part)
        if not any(map(wanted, range(parts))):
            return
        start = sum(self.groups[:task])
        with pq.ParquetFile(self.path) as file:
            for number, batch in enumerate(file.iter_batches(self.rows_per_part, row_groups=[task])):
                if wanted(number):
                    table = pa.Table.from_batches([batch])
                    if "id" not in table.schema.names:
                        table = table.append_column("id", pa.array(range(start, start + len(batch)), pa.int64()))
                    yield number, table
                start += len(batch)


class Job:
    """One job: input, the class of warpkem.ray that does the rows with its arguments, the columns to keep, the folder."""

    def __init__(self, source: Made | Parquet, step: type, arguments: dict, keep: list[str] | None, out: str | os.PathLike) -> None:
        self.source, self.step, self.arguments, self.keep, self.out = source, step, arguments, keep, os.path.abspath(out)

    def part(self, task: int, number: int) -> pathlib.Path:
        return pathlib.Path(self.out, f"part-{task:05}-{number:05}.parquet")

    def do(self, task: int, note: Callable[[int], None] = lambda rows: None) -> int:
        """Makes the parts of a task that are missing; tells how many rows they have."""
        rows, step = 0, None
        for number, table in self.source.batches(task, lambda number: not self.part(task, number).exists()):
            step = step or _made(self.step, self.arguments)
            table = step(table)
            write_part(table.select(self.keep) if self.keep else table, self.part(task, number))
            rows += len(table)
            note(len(table))
        return rows


_steps: dict[str, Step] = {}


def _made(step: type, arguments: dict) -> Step:
    """The step, made once in each process: it has the engine."""
    key = f"{step.__module__}.{step.__qualname__}{sorted(arguments.items())}"
    if key not in _steps:
        _steps.clear()
        _steps[key] = step(**arguments)
    return _steps[key]


def write(path: pathlib.Path, fill: Callable[[Any], Any]) -> None:
    """Writes a file that appears whole or not at all. `fill` writes to the open file, bytes."""
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_part(table: pa.Table, path: pathlib.Path) -> None:
    """Writes a Parquet file. Its bytes are random, so nothing is compressed."""
    write(path, lambda file: pq.write_table(table, file, compression="none", use_dictionary=False, write_statistics=False))


def begin(job: Job, secrets: list[bytes]) -> None:
    """Makes the folder, or finds that it holds this very job; removes what a kill left behind."""
    folder = pathlib.Path(job.out)
    folder.mkdir(parents=True, exist_ok=True)
    arguments = {name: value.hex() if isinstance(value, bytes) else value for name, value in job.arguments.items()
                 if name != "threads"}
    # Tells secrets apart and does not tell what they are.
    check = hashlib.shake_256(b"WarpKEM job check 1" + b"".join(len(one).to_bytes(8, "little") + one for one in secrets))
    now = {"step": job.step.__name__, "arguments": arguments, "input": job.source.identity(), "secrets": check.hexdigest(16)}
    manifest = folder / "job.json"
    if manifest.exists():
        if json.loads(manifest.read_text()) != json.loads(json.dumps(now)):
            raise SystemExit(f"{folder} holds another job, or one of other secrets or input; see {manifest}")
    elif any(not path.match(".job.json.*.tmp") for path in folder.iterdir()):
        raise SystemExit(f"{folder} is not empty and holds no job")
    else:
        write(manifest, lambda file: file.write(json.dumps(now, indent=1).encode()))
    clean(job)


def clean(job: Job) -> None:
    """Removes what killed writers left behind."""
    for name in ("part-*.parquet", "job.json", "bad.csv"):
        for leftover in pathlib.Path(job.out).glob(f".{name}.*.tmp"):
            leftover.unlink(missing_ok=True)


def run(job: Job, secrets: list[bytes], ray_address: str | None = None, cpus: int = 1) -> None:
    """Runs or resumes a job. `ray_address`: None, in this process; else what ray.init takes, "auto" being the cluster that
    this machine belongs to. All nodes need the input, the folder and the secrets under the same paths."""
    from tqdm import tqdm
    begin(job, secrets)
    tasks = job.source.tasks()
    with tqdm(total=job.source.total, unit=" rows", unit_scale=True) as bar:
        if ray_address is None:
            for task, rows in enumerate(tasks):
                bar.update(rows - job.do(task, bar.update))
        else:
            import ray
            started_here = not ray.is_initialized()
            if started_here:
                ray.init(address=ray_address, log_to_driver=False)
            try:
                # A task, unlike an actor's, goes to another node by itself when its node dies.
                do = ray.remote(num_cpus=cpus, max_retries=-1)(Job.do)
                under_way = {do.remote(job, task): rows for task, rows in enumerate(tasks)}
                while under_way:
                    done, _ = ray.wait(list(under_way), num_returns=1)
                    try:
                        ray.get(done[0])
                    except ray.exceptions.RayTaskError as error:
                        raise error.cause from None  # what the task met, as without Ray
                    bar.update(under_way.pop(done[0]))
            finally:
                if started_here:
                    ray.shutdown()
    clean(job)


def parts(out: str | os.PathLike) -> list[pathlib.Path]:
    """The parts of a folder, in order."""
    return sorted(pathlib.Path(out).glob("part-*.parquet"))
