#!/usr/bin/env python3
"""The C ABI against its description in abi-ARCHITECTURE.xml: functions, their types, the layout of structs.

abi_test.py LIBRARY [--write]: a library with debug information of its API. --write writes the description anew, for a change
that only adds: within a major version nothing else may change.
"""
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parents[1]
LIBRARY = sys.argv[1]
BASELINE = HERE / f"abi-{platform.machine()}.xml"
CHANGED, INCOMPATIBLE = 4, 8  # bits of abidiff's exit status


def describe(library):
    done = subprocess.run(["abidw", "--headers-dir", SOURCE / "include", "--drop-private-types", "--drop-undefined-syms",
                           "--exported-interfaces-only", "--no-show-locs", "--no-comp-dir-path", "--no-corpus-path",
                           "--no-elf-needed", "--type-id-style", "hash", library], check=True, text=True, stdout=subprocess.PIPE)
    return done.stdout


def difference(old, new):
    """(exit status, report) of abidiff."""
    done = subprocess.run(["abidiff", "--no-show-locs", old, new],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


@unittest.skipUnless(shutil.which("abidiff"), "no abidiff (abigail-tools)")
@unittest.skipUnless(BASELINE.is_file(), f"no description of the ABI for {platform.machine()}")
class Abi(unittest.TestCase):
    def compare(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "abi.xml"
            path.write_text(text)
            return difference(BASELINE, path)

    def setUp(self):
        self.now = describe(LIBRARY)

    def test_the_abi_is_as_described(self):
        status, report = self.compare(self.now)
        self.assertFalse(status & INCOMPATIBLE, f"programs built against the library before break:\n{report}")
        self.assertEqual(status, 0, f"the ABI has grown; tests/install/abi_test.py LIBRARY --write describes it anew:\n{report}")

    def test_a_function_that_is_gone_is_seen(self):
        status, report = self.compare(self.now.replace("warpkem_encaps_derand", "warpkem_encaps_renamed"))
        self.assertTrue(status & INCOMPATIBLE, report)
        self.assertIn("warpkem_encaps_derand", report)

    def test_a_member_that_has_moved_is_seen(self):
        begin = self.now.index("<class-decl name='warpkem_completion'")
        moved = self.now[begin:].replace("layout-offset-in-bits='64'", "layout-offset-in-bits='96'", 1)
        status, report = self.compare(self.now[:begin] + moved)
        self.assertTrue(status & CHANGED, report)


if __name__ == "__main__":
    if "--write" in sys.argv:
        BASELINE.write_text(describe(LIBRARY))
    else:
        unittest.main(argv=sys.argv[:1], verbosity=2)
