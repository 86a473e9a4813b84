#!/usr/bin/env python3
"""The scripts of bench/ on results that are made up here."""
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

    def test_the_readme_shows_what_the_script_draws(self):
        pictures = BENCH.parent / "tools" / "docs" / "pictures"
        done = subprocess.run([sys.executable, pictures, "--check"], stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for name in "throughput.svg", "architecture.svg":
            self.assertIn(f"](tools/docs/{name})", (BENCH.parent / "README.md").read_text())
            xml.dom.minidom.parse(str(pictures.parent / name))

    # A GPU whose arithmetic allows 30 M/s and needs 3000 items to get half of it, behind a link of 40 GB/s each way.
    def gpu_rows(self):
        lines = [{"name": "copy/cuda/iterations:1/real_time", "to_device_bytes_per_second": 50e9,
                  "to_host_bytes_per_second": 50e9, "both_to_device_bytes_per_second": 40e9,
                  "both_to_host_bytes_per_second": 40e9}]
        for name, keys, bytes_in, bytes_out in (("encaps", "", 1216, 1120), ("decaps", "", 3488, 32),
                                                ("decaps", "/dk:seed", 1152, 32)):
            link = min(40e9 / bytes_in, 40e9 / bytes_out)
            for batch in (1, 64, 1024, 4096, 16384, 65536):
                device = 30e6 * batch / (batch + 3000)
                for memory, rate in (("/memory:device", device), ("/memory:pinned", 0.75 * min(device, link)),
                                     ("", 0.5 * min(device, link))):
                    lines.append({"name": f"{name}/ML-KEM-768/cuda/batch:{batch}/threads:1{keys}{memory}/real_time",
                                  "items_per_second": rate, "bytes_in": bytes_in, "bytes_out": bytes_out})
        return lines

    def test_plot_shades_what_bounds_a_gpu(self):
        out = self.folder / "bounds.svg"
        path = self.file("gpu.json", {"benchmarks": self.gpu_rows()})
        self.assertEqual(call("plot", "-o", out, path).stderr, "")
        document = xml.dom.minidom.parse(str(out))
        shades = [one.getAttribute("class") for one in document.getElementsByTagName("rect") if one.hasAttribute("class")]
        self.assertEqual(shades, ["launch-bound", "compute-bound",  # encaps: the link lets 32.9 M/s pass
                                  "launch-bound", "copy-bound",     # decaps: 11.5 M/s; 4096 items do 17 M/s on the GPU
                                  "launch-bound", "compute-bound"])
        # The border is half-way, on the logarithmic axis, between 1024 and 4096: 11 of 16 octaves.
        (launch, copy) = [one for one in document.getElementsByTagName("rect") if one.hasAttribute("class")][2:4]
        left, width = float(launch.getAttribute("x")), float(launch.getAttribute("width"))
        self.assertAlmostEqual(width / (width + float(copy.getAttribute("width"))), 11 / 16, places=3)
        self.assertAlmostEqual(left + width, float(copy.getAttribute("x")), places=3)
        self.assertEqual(len(document.getElementsByTagName("polyline")), 3 * 4)

    def test_plot_of_a_gpus_rows_beside_a_cpus(self):
        path = self.file("gpu.json", {"benchmarks": self.gpu_rows() + [ours(2e5, batch=b) for b in (1, 1024)]})
        out = self.folder / "both.svg"
        self.assertEqual(call("plot", "--kind", "throughput", "--match", "encaps", "-o", out, path).returncode, 0)
        self.assertEqual(len(xml.dom.minidom.parse(str(out)).getElementsByTagName("polyline")), 4)
        self.assertIn("memory:device", call("plot", "--kind", "bounds", "--match", "avx2", "-o", out, path).stderr)

    def test_report_of_a_gpu(self):
        bounds = self.file("bounds.json", {"dynamic": [{"set": "ML-KEM-768", "operation": "decaps", "items_per_second": 45e6},
                                                       {"set": "ML-KEM-768", "operation": "encaps", "items_per_second": 58e6},
                                                       {"set": "ML-KEM-768", "operation": "encaps", "items_per_second": 12e6}]})
        clocks = self.folder / "clocks.csv"
        clocks.write_text("timestamp, index, clocks.current.sm [MHz], utilization.gpu [%]\n"
                          "2026/01/01 00:00:00.000, 0, 345 MHz, 0 %\n" + "2026/01/01 00:00:01.000, 0, 1980 MHz, 100 %\n" * 3)
        done = call("gpu-report", "--bounds", bounds, "--clocks", clocks, self.file("gpu.json", {"benchmarks": self.gpu_rows()}))
        self.assertEqual(done.stderr, "")
        self.assertIn("clock while busy: 1980 MHz", done.stdout)
        rates = {tuple(line.split()[:3]): line.split()[3:] for line in done.stdout.splitlines()}
        # 28.7 M/s on the GPU at best; pinned 75 % of the link's 11.5; 106 % of 27 M/s; 57 % of 45 M/s at 1980 for 1755 MHz
        self.assertEqual(rates["decaps", "ML-KEM-768", "expanded"],
                         "28.7 (65536) 8.6 (4096) 5.73 (4096) 11.5 75% 106% 57%".split())
        self.assertEqual(rates["encaps", "ML-KEM-768", "expanded"][-4:], ["32.9", "75%", "90%", "44%"])
        self.assertEqual(rates["decaps", "ML-KEM-768", "seed"][-2:], ["34.7", "75%"])  # neither a target nor a bound

    def test_sweep_of_a_server_and_its_plot(self):
        server = self.folder / "server"
        server.write_text(f"""#!{sys.executable}
import json, sys
rate = float(sys.argv[sys.argv.index("--rate") + 1]) if "--rate" in sys.argv else 1000.0
assert sys.argv[1:4] == ["serve-bench", "--seconds", "1"] and "--json" in sys.argv
latency = 100 if rate < 1000 else 5000
refused = max(0, round(rate) - 1000)
print(json.dumps({{"offered_per_second": rate, "completed_per_second": min(rate, 1000.0), "offered": round(rate),
    "completed": round(rate) - refused, "refused": refused, "stall_us": 1.0, "lost": 0, "duplicated": 0,
    "wrong": int(rate == 77),
    "latency_us": {{"p50": latency, "p99": 2 * latency, "p999": 3 * latency, "max": 4 * latency}},
    "batch_size": {{"p50": 2, "mean": 3.0, "max": 8, "histogram": [[1, 8], [8, 3]]}}}}))
""")
        server.chmod(0o755)
        swept, out = self.folder / "sweep.json", self.folder / "sweep.svg"
        done = call("serve-sweep", "--fractions", "0.077", "-o", swept, "--", server, "serve-bench", "--seconds", "1")
        self.assertIn("'wrong': 1", done.stderr)
        self.assertFalse(swept.exists())
        done = call("serve-sweep", "--fractions", "2,0.5", "-o", swept, "--", server, "serve-bench", "--seconds", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        sweep = json.loads(swept.read_text())
        self.assertEqual([load["offered_per_second"] for load in sweep["loads"]], [2000, 500])
        self.assertEqual(sweep["closed"]["completed_per_second"], 1000)
        self.assertEqual(call("plot", "-o", out, swept).stderr, "")
        document = xml.dom.minidom.parse(str(out))
        text = out.read_text()
        self.assertEqual(len(document.getElementsByTagName("polyline")), 5)  # three quantiles, refused, mean batch
        self.assertIn("2000/s offered: 50.0%", text)
        self.assertIn("500/s offered: 100 us", text)
        cells = [one for one in document.getElementsByTagName("rect") if one.getAttribute("class") == "batches"]
        # a quarter of the items in batches of one, the rest in batches of 8
        self.assertEqual([one.getAttribute("fill-opacity") for one in cells], ["0.250", "0.750"] * 2)
        self.assertNotEqual(call("plot", "-o", out, swept, self.file("ours.json", {"benchmarks": []})).returncode, 0)
        self.assertNotEqual(call("serve-sweep", "-o", swept, "--", self.folder / "absent").returncode, 0)


if __name__ == "__main__":
    unittest.main()
