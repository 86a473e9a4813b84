#!/usr/bin/env python3
"""tools/gpu-check to its end on a bare machine: prepared here, run in a clean root that has Python and nothing of a toolkit, on
an emulated GPU. Takes root, debootstrap, a mirror and nvcc.

WARPKEM_BUILD: where it works. WARPKEM_PTXEMU_RUN: the emulator's ptxemu-run. WARPKEM_CLEAN_ROOTS: a folder with roots
SUITE-pristine, as debootstrap makes them.
"""
import json
import os
import pathlib
import re
import shutil
import sys
import unittest

from commands import clean_root, inside, run

SOURCE = pathlib.Path(__file__).resolve().parents[2]
WORK = pathlib.Path(os.environ.get("WARPKEM_BUILD") or sys.exit("WARPKEM_BUILD is not set")).resolve()
RUNNER = pathlib.Path(os.environ.get("WARPKEM_PTXEMU_RUN") or sys.exit("WARPKEM_PTXEMU_RUN is not set")).resolve()
PRISTINE = pathlib.Path(os.environ.get("WARPKEM_CLEAN_ROOTS", WORK))
# What an emulated GPU has no use for.
SKIPPED = {"test test_tool.py", "test test_serve_bench.py"} | {f"sanitizer {tool}" for tool in
                                                              ("racecheck", "memcheck", "initcheck", "synccheck")}


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("debootstrap"), "takes root and debootstrap")
class BareMachine(unittest.TestCase):
    def test_every_step_is_done(self):
        prebuilt = WORK / "prebuilt"
        told = run(sys.executable, SOURCE / "tools" / "gpu-check", "--prepare", prebuilt, "--arch", "90", "--runner", RUNNER)
        carried = [pathlib.Path(line) for line in told.splitlines() if line.startswith(str(prebuilt))]
        self.assertLessEqual({"bin", "lib", "commit"}, {path.name for path in carried})
        self.assertLess(float(re.search(r"([\d.]+) MiB in all", told)[1]), 64)

        root = clean_root(self, os.environ.get("WARPKEM_SUITE", "bookworm"), PRISTINE, WORK / "root")
        inside(root, "apt-get update -q && apt-get install -y -q --no-install-recommends python3-minimal libpython3-stdlib")
        for name in run("git", "-C", SOURCE, "ls-files", "tools", "tests/tools", "kat", "bench").split():
            (root / "src" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(SOURCE / name, root / "src" / name)
        (root / "prebuilt").mkdir()
        for path in carried:
            run("cp", "-r", path, root / "prebuilt")
        # In two calls, as with a machine that is lent for minutes.
        check = "cd /src && python3 tools/gpu-check --prebuilt /prebuilt --runner /prebuilt/emulator/ptxemu-run --out /results"
        first = inside(root, f"{check} --minutes 240 --stages test,pipes,kernels")
        second = inside(root, f"{check} --minutes 240")
        print(first, second, sep="\n")

        results = root / "results"
        self.assertLessEqual(len(list(results.iterdir())), 8)
        steps = json.loads((results / "summary.json").read_text())["steps"]
        states = {name: step["state"] for name, step in steps.items()}
        self.assertEqual({name for name, state in states.items() if state != "done"}, SKIPPED)
        for name in ("selftest", "test kernels_launch_test", "whole batch", "forks", "pipes", "kernels decaps", "bench ML-KEM-768/16",
                     "latency, graphs 0, copies by kernels 0", "test cuda_module_test"):
            self.assertIn(name, states)
        report = (results / "report.txt").read_text()
        for operation in ("keygen", "encaps", "decaps"):
            self.assertRegex(report, operation)


if __name__ == "__main__":
    unittest.main(verbosity=2)
