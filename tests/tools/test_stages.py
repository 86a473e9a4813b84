#!/usr/bin/env python3
"""The counting of tools/stages.py: a failure is never lost, a skip never counts as a pass."""
import importlib.util
import pathlib
import unittest
import xml.etree.ElementTree as xml

PATH = pathlib.Path(__file__).resolve().parents[2] / "tools" / "stages.py"
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


if __name__ == "__main__":
    unittest.main(verbosity=2)
