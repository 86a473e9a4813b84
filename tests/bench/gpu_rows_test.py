#!/usr/bin/env python3
"""operations_bench on a GPU, real or emulated: its rows have a CPU's names, and what bench/ makes of them.

usage: gpu_rows_test.py OPERATIONS_BENCH, under the emulator's runner if there is no GPU
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.dom.minidom

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
PROGRAM = sys.argv.pop(1)
FORMS = {"keygen": ["", "/dk:seed"], "encaps": ["", "/prepared"], "decaps": ["", "/dk:seed", "/prepared"]}
MEMORIES = ["", "/memory:pinned", "/memory:device"]


class GpuRows(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.result = cls.folder / "rows.json"
        subprocess.run([PROGRAM, "--benchmark_filter=ML-KEM-512/cuda/batch:(1|4)/|ML-KEM-512/portable/batch:4/threads:1|copy/",
                        "--benchmark_min_time=0", f"--benchmark_out={cls.result}"], check=True, stdout=subprocess.DEVNULL)
        cls.lines = {line["name"].removesuffix("/real_time"): line
                     for line in json.loads(cls.result.read_text())["benchmarks"]}

    def script(self, name, *arguments):
        done = subprocess.run([sys.executable, BENCH / name, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def test_every_form_of_the_keys_in_every_memory(self):
        names = {f"{op}/ML-KEM-512/cuda/batch:{batch}/threads:1{form}{memory}"
                 for op, forms in FORMS.items() for form in forms for batch in (1, 4) for memory in MEMORIES}
        self.assertEqual({name for name in self.lines if "/cuda/b" in name}, names)
        for name in names:
            self.assertGreater(self.lines[name]["items_per_second"], 0, self.lines[name])
        # A CPU's rows are the same but for the backend and the memory.
        portable = {name.replace("/portable/", "/cuda/"): line for name, line in self.lines.items() if "/portable/" in name}
        self.assertEqual(set(portable), {name for name in names if "batch:4" in name and "memory" not in name})
        for name, line in portable.items():
            self.assertEqual(set(line), set(self.lines[name]))
            self.assertEqual((line["bytes_in"], line["bytes_out"]), (self.lines[name]["bytes_in"], self.lines[name]["bytes_out"]))

    def test_bytes_of_an_item(self):
        for name, expected in (("keygen/{}", (64, 800 + 1632)), ("keygen/{}/dk:seed", (64, 800 + 64)), ("encaps/{}", (832, 800)),
                               ("encaps/{}/prepared", (32, 800)), ("decaps/{}", (1632 + 768, 32)), ("decaps/{}/dk:seed", (832, 32)),
                               ("decaps/{}/prepared", (768, 32))):
            line = self.lines[name.format("ML-KEM-512/cuda/batch:1/threads:1")]
            self.assertEqual((line["bytes_in"], line["bytes_out"]), expected)

    def test_copies_in_both_directions(self):
        (line,) = [line for name, line in self.lines.items() if name.startswith("copy/cuda")]
        for name in "to_device", "to_host", "both_to_device", "both_to_host":
            self.assertGreater(line[f"{name}_bytes_per_second"], 0)

    def test_plot_and_report(self):
        out = self.folder / "bounds.svg"
        self.script("plot", "-o", out, self.result)
        document = xml.dom.minidom.parse(str(out))
        shaded = [one for one in document.getElementsByTagName("rect") if one.hasAttribute("class")]
        self.assertGreaterEqual(len(shaded), 7)  # a panel for each operation and form of the keys
        self.assertEqual(len(document.getElementsByTagName("polyline")), 7 * 4)
        self.assertEqual(len([line for line in self.script("gpu-report", self.result).splitlines() if " ML-KEM-512 " in line]), 7)


if __name__ == "__main__":
    unittest.main(verbosity=2)
