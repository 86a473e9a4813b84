#!/usr/bin/env python3
"""bench/compare and bench/plot on results that are made up here."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.dom.minidom

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"


def call(script, *arguments):
    return subprocess.run([sys.executable, str(BENCH / script), *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)


def ours(rate, batch=1024, suffix=""):
    return {"name": f"encaps/ML-KEM-768/avx2/batch:{batch}/threads:1{suffix}", "items_per_second": rate}


class Scripts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, name, data):
        path = self.folder / name
        path.write_text(json.dumps(data))
        return path

    def peers(self):
        return self.file("peers.json", {
            "cpu": "a CPU", "ghz": {"median": 3.0}, "keccak_ns_per_permutation": {"avx2": 100.0},
            "benchmarks": [{"name": "other/768/encaps/cold", "peer": "other", "keys": "cold", "items_per_second": 100.0,
                            "floor": 400.0},
                           {"name": "other/768/encaps/hot", "peer": "other", "keys": "hot", "items_per_second": 999.0,
                            "floor": 400.0}]})

    def test_compare_takes_medians_and_leaves_aggregates_out(self):
        rates = [ours(150.0), ours(200.0), ours(9000.0), {**ours(1.0), "run_type": "aggregate"}]
        done = call("compare", "--peers", self.peers(), self.file("ours.json", {"benchmarks": rates}))
        self.assertEqual(done.returncode, 0, done.stderr)
        row = done.stdout.splitlines()[-1].split()
        self.assertEqual(row, ["encaps/ML-KEM-768/avx2/batch:1024/threads:1", "200", "other", "100", "2.00", "50%"])

    def test_prepared_is_set_against_plain(self):
        done = call("compare", "--peers", self.peers(), "--markdown",
                    self.file("ours.json", {"benchmarks": [ours(500.0, suffix="/prepared")]}))
        self.assertIn("| other (plain) | 100 | 5.00 |", done.stdout)

    def test_compare_reads_pairs(self):
        pair = {"name": ours(1)["name"], "items_per_second": 300.0, "peer": "other", "peer_items_per_second": 200.0,
                "of_floor": 0.75}
        done = call("compare", self.file("pair.json", {"pairs": [pair]}))
        self.assertRegex(done.stdout, r"other\s+200\s+1\.50\s+1\.50\s+1\.50\s+75%")

    def test_compare_refuses_what_it_cannot_read(self):
        path = self.folder / "broken.json"
        path.write_text("{")
        for bad in (path, self.folder / "absent.json", self.file("none.json", {"benchmarks": []})):
            done = call("compare", bad)
            self.assertNotEqual(done.returncode, 0)
            self.assertEqual(done.stdout, "")
            self.assertNotIn("Traceback", done.stderr)

    def test_plot_draws_a_line_for_each_series(self):
        rates = [ours(1000.0 * b, batch=b) for b in (1, 16, 1024)] + [ours(9e6, 16, "/prepared"), ours(5e6, 1, "/prepared")]
        out = self.folder / "plot.svg"
        done = call("plot", "-o", out, self.file("ours.json", {"benchmarks": rates}))
        self.assertEqual(done.returncode, 0, done.stderr)
        document = xml.dom.minidom.parse(str(out))
        self.assertEqual(len(document.getElementsByTagName("polyline")), 2)
        self.assertEqual(len(document.getElementsByTagName("circle")), 5)
        self.assertNotEqual(call("plot", "--match", "keygen", "-o", out, self.folder / "ours.json").returncode, 0)


if __name__ == "__main__":
    unittest.main()
