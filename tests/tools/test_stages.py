#!/usr/bin/env python3
"""tools/test and its parts: a failure is never lost, a skip never counts as a pass, and only what is missing is installed."""
import importlib.util
import os
import pathlib
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree as xml

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
PATH = TOOLS / "stages.py"
spec = importlib.util.spec_from_file_location("stages", PATH)
stages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stages)

GTEST = """\
[==========] Running 4 tests from 1 test suite.
[ RUN      ] A.Good
[       OK ] A.Good (0 ms)
[ RUN      ] A.Bad
a.cpp:3: Failure
[  FAILED  ] A.Bad, where GetParam() = 3 (12 ms)
[ RUN      ] A.Skips/x
a.cpp:7: Skipped
no device

[  SKIPPED ] A.Skips/x (0 ms)
[ RUN      ] A.Good2
[       OK ] A.Good2 (0 ms)
[==========] 4 tests from 1 test suite ran. (0 ms total)
[  PASSED  ] 2 tests.
[  SKIPPED ] 1 test, listed below:
[  SKIPPED ] A.Skips/x
[  FAILED  ] 1 test, listed below:
[  FAILED  ] A.Bad, where GetParam() = 3
"""
UNITTEST = """\
test_a (m.T.test_a) ... ok
test_b (m.T.test_b) ... FAIL
test_c (m.T.test_c) ... skipped 'needs root'
test_d (m.T.test_d) ... ok
======
FAIL: test_b (m.T.test_b)
------
Ran 4 tests in 0.001s

FAILED (failures=1, skipped=1)
"""


class Counting(unittest.TestCase):
    def count(self, status, text="", **skipped):
        run = stages.Run()
        case = xml.Element("testcase", name="x", status=status)
        xml.SubElement(case, "system-out").text = text
        if skipped:
            xml.SubElement(case, "skipped", skipped)
        run.count(case)
        return run.passed, len(run.failures), len(run.skips)

    def test_googletest(self):
        self.assertEqual(stages.cases_in(GTEST), (2, ["A.Bad"], [("A.Skips/x", "no device")]))
        self.assertEqual(self.count("fail", GTEST), (2, 1, 1))

    def test_unittest(self):
        self.assertEqual(stages.cases_in(UNITTEST), (2, ["test_b"], [("test_c", "needs root")]))
        self.assertEqual(self.count("fail", UNITTEST), (2, 1, 1))

    def test_plain_programs(self):
        self.assertEqual(self.count("run", "hello"), (1, 0, 0))
        self.assertEqual(self.count("fail", "hello"), (0, 1, 0))

    def test_crash_after_the_last_case_is_a_failure(self):
        good = "[ RUN      ] A.B\n[       OK ] A.B (0 ms)\n[  PASSED  ] 1 test.\n"
        self.assertEqual(self.count("run", good), (1, 0, 0))
        self.assertEqual(self.count("fail", good), (1, 1, 0))

    def test_what_could_not_run_is_a_failure(self):
        self.assertEqual(self.count("notrun", message="Unable to find executable"), (0, 1, 0))
        self.assertEqual(self.count("notrun", message="SKIP_RETURN_CODE=77"), (0, 0, 1))
        self.assertEqual(self.count("disabled"), (0, 0, 1))


class Machine(unittest.TestCase):
    """A folder in front of PATH with a package manager of our own, which writes down what it is asked to install."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.log = self.folder / "log"
        self.put("sudo", 'exec "$@"')
        self.put("apt-get", f'echo "$@" >>{self.log}; [ "$1" != update ] || touch {self.folder}/lists')
        self.machine(installed=[], known=[])

    def put(self, name, script):
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def machine(self, installed, known, needs_update=False):
        self.put("dpkg-query", "".join(f'[ "$3" != {name} ] || printf installed\n' for name in installed))
        lists = f"[ -e {self.folder}/lists ] || exit 0\n" if needs_update else ""
        self.put("apt-cache", lists + f'case " {" ".join(known)} " in *" $2 "*) echo "  Candidate: 1.0" ;; esac')

    def run_tool(self, *words):
        return subprocess.run([TOOLS / words[0], *words[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True,
                              env={**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}"})

    def asked(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def test_listing_names_every_stage_and_installs_nothing(self):
        for words in ["--list"], ["--all", "--list"]:
            done = self.run_tool("test", *words)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            listed = [(line.split()[0], line.endswith(" (--all)")) for line in done.stdout.splitlines()]
            self.assertEqual(listed, [(name, only_all) for name, (_, only_all) in stages.STAGES.items()])
            for line, (function, _) in zip(done.stdout.splitlines(), stages.STAGES.values()):
                self.assertIn(function.__doc__.splitlines()[0], line)
        self.assertIn("usage: tools/test", self.run_tool("test", "--help").stdout)
        self.assertEqual(self.asked(), [])

    def test_what_is_installed_is_left_alone(self):
        self.machine(installed=["one", "other"], known=[])
        self.assertEqual(self.run_tool("packages", "one", "first|other").returncode, 0)
        self.assertEqual(self.asked(), [])

    def test_the_first_name_that_the_distribution_has_is_installed(self):
        self.machine(installed=["one"], known=["two", "third", "fourth"])
        self.assertEqual(self.run_tool("packages", "one", "two", "second|third|fourth").returncode, 0)
        self.assertEqual([line.split()[-2:] for line in self.asked()], [["two", "third"]])

    def test_lists_are_fetched_where_a_name_is_unknown(self):
        self.machine(installed=[], known=["two", "third"], needs_update=True)
        self.assertEqual(self.run_tool("packages", "two", "second|third").returncode, 0)
        self.assertEqual([line.split()[0] for line in self.asked()], ["update", "install"])
        self.assertEqual(self.asked()[-1].split()[-2:], ["two", "third"])

    def test_no_version_of_a_compiler_is_required(self):
        self.assertNotRegex((TOOLS.parent / "CMakePresets.json").read_text(), r"(clang|gcc|g\+\+|clang\+\+)-\d")
        for name in ("clang-9", "clang-14", "clang-17", "clang++-30", "clang-format-99"):
            self.put(name, "")
        path, os.environ["PATH"] = os.environ["PATH"], str(self.folder)
        self.addCleanup(os.environ.__setitem__, "PATH", path)
        self.assertEqual((stages.newest("clang"), stages.newest("clang++"), stages.newest("lld")), ("clang-17", "clang++-30", None))
        self.put("clang", "")
        self.assertEqual(stages.newest("clang"), "clang")


if __name__ == "__main__":
    unittest.main(verbosity=2)
