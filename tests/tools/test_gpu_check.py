#!/usr/bin/env python3
"""tools/gpu-check on programs that are made up here: its steps, what it remembers, and what it says of what is missing."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

CHECK = pathlib.Path(__file__).resolve().parents[2] / "tools" / "gpu-check"

# Answers as operations_bench does to gpu-check's arguments: two batch sizes, so that there is a curve.
BENCH = f"""#!{sys.executable}
import json, os, re, sys
arguments = dict(word.removeprefix("--benchmark_").split("=", 1) for word in sys.argv[1:])
if arguments["filter"].startswith("(keygen|encaps|decaps)/X25519MLKEM768/cuda/batch:(1024)/threads:1/memory:device/"):
    lines = [{{"name": "keygen/X25519MLKEM768/cuda/batch:1024/threads:1/memory:device/real_time",
              "real_time": 10.0 if os.environ["WARPKEM_CUDA_FORKS"] == "1" else 15.0}}]
    json.dump({{"context": {{}}, "benchmarks": lines}}, open(arguments["out"], "w"))
    sys.exit()
parameter_set, batch = re.match(r"([\\w-]+)/cuda/batch:(\\d+)/\\|\\^copy/$", arguments["filter"]).groups()
if parameter_set == "ML-KEM-1024":
    sys.exit("out of luck")
rates = {{"to_device_bytes_per_second": 2e9, "to_host_bytes_per_second": 2e9, "both_to_device_bytes_per_second": 1e9,
          "both_to_host_bytes_per_second": 1e9}}
lines = [{{"name": "copy/cuda/iterations:1/real_time", "run_type": "iteration", **rates}}]
for memory, rate in ("", 1000), ("/memory:pinned", 2000), ("/memory:device", 4000):
    name = f"encaps/{{parameter_set}}/cuda/batch:{{batch}}/threads:1{{memory}}/real_time"
    lines.append({{"name": name, "run_type": "iteration", "items_per_second": rate * int(batch), "bytes_in": 1216, "bytes_out": 1120}})
    lines.append({{"name": name + "_mean", "run_type": "aggregate", "items_per_second": 1, "bytes_in": 1, "bytes_out": 1}})
json.dump({{"context": {{}}, "benchmarks": lines}}, open(arguments["out"], "w"))
"""


class GpuCheck(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.out, self.built = self.folder / "out", self.folder / "built"
        (self.built / "bin").mkdir(parents=True)

    def program(self, name, text):
        path = self.built / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def check(self, *arguments):
        command = [CHECK, "--prebuilt", self.built, "--out", self.out, "--runner", "env", *arguments]
        done = subprocess.run([sys.executable, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env={**os.environ, "PATH": "/usr/bin:/bin"})
        return done.returncode, done.stdout + done.stderr

    def steps(self):
        return {name: step["state"] for name, step in json.loads((self.out / "summary.json").read_text())["steps"].items()}

    def test_wrong_usage_and_nothing_built(self):
        rc, text = self.check("--stages", "test,timing")
        self.assertEqual(rc, 2)
        self.assertIn("no stage timing; there are: build, test, pipes, kernels, bench, latency, sanitize", text)
        rc, text = self.check()
        self.assertEqual(rc, 1)
        self.assertIn("no bin/warpkem in", text)

    def test_stages_are_remembered_failures_are_not(self):
        self.program("warpkem", '#!/bin/sh\necho "cuda: passed"\n')
        self.program("operations_bench", BENCH)
        (self.built / "commit").write_text("abc1234\n")
        self.assertEqual(self.check("--stages", "test")[0], 0)
        steps = self.steps()
        self.assertEqual((steps["selftest"], steps["test kat_test"]), ("done", "skipped"))
        self.assertFalse([name for name in steps if name.startswith("bench")])

        rc, text = self.check("--stages", "test,bench")
        self.assertEqual(rc, 1)
        self.assertNotIn("selftest:", text)  # it was done
        steps = self.steps()
        sets = "ML-KEM-512", "ML-KEM-768", "ML-KEM-1024", "X25519MLKEM768"
        self.assertEqual({name: steps[f"bench {name}/16"] for name in sets},
                         {"ML-KEM-512": "done", "ML-KEM-768": "done", "ML-KEM-1024": "failed", "X25519MLKEM768": "done"})
        self.assertIn("out of luck", text)

        report = (self.out / "report.txt").read_text()
        self.assertRegex(report, r"^EMULATED, no figures of a GPU: abc1234; \d{4}-")
        self.assertIn("to the device, 2.0 to the host; both at once 1.0 and 1.0", report)
        self.assertRegex(report, r"encaps ML-KEM-768 +expanded +0\.064 \(16\) +0\.032 \(16\) +0\.016 \(16\) +0\.822 +50%")
        self.assertIn("<polyline", (self.out / "bounds.svg").read_text())
        timed = json.loads((self.out / "bench.json").read_text())
        self.assertEqual(timed["context"]["commit"], "abc1234")
        self.assertEqual(len(timed["benchmarks"]), 4 * 2 * 4)

        self.program("operations_bench", BENCH.replace('"ML-KEM-1024"', '"none"'))
        rc, text = self.check("--stages", "bench")
        self.assertEqual(rc, 0, text)
        self.assertEqual([line.split()[3] for line in text.splitlines() if line.startswith("done")], ["bench", "bench"])
        self.assertLessEqual(len(list(self.out.iterdir())), 8)

    def test_two_streams_are_compared_with_one(self):
        self.program("warpkem", "")
        self.program("operations_bench", BENCH)
        self.check("--stages", "latency")
        self.assertEqual(self.steps()["forks"], "done")
        self.assertEqual(json.loads((self.out / "figures.json").read_text())["forks"],
                         {"rate with two streams over rate with one": {"keygen/batch:1024": 1.5}})

    def test_time_is_up(self):
        self.program("warpkem", '#!/bin/sh\necho "cuda: passed"\n')
        rc, text = self.check("--minutes", "0.001")
        self.assertEqual(rc, 3)
        self.assertIn("the same command goes on from there", text)


if __name__ == "__main__":
    unittest.main()
