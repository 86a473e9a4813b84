#!/usr/bin/env python3
"""Constant time, checked: runs ct_program under valgrind for every CPU backend that valgrind can run, scans the
backends' machine code for divisions, and holds the declassification points against the committed list.

ct_test.py PROGRAM SOURCE_FOLDER OBJECT...  (the last two from CMake)
"""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import unittest

PROGRAM, SOURCE, *OBJECTS = sys.argv[1:] if len(sys.argv) > 2 else [None, None]
# P-256 and P-384: a scalar is public from where OpenSSL gets it, which keeps it secret by means of its own, to where the
# secret comes back.
ALGORITHMS = ["ML-KEM-512", "ML-KEM-768", "ML-KEM-1024", "X25519MLKEM768", "MLKEM768-X25519", "SecP256r1MLKEM768",
              "SecP384r1MLKEM1024", "MLKEM768-P256", "MLKEM1024-P384"]
OPERATIONS = ["keygen", "encaps", "encaps-prepared", "decaps", "decaps-invalid", "decaps-seed", "decaps-prepared", "check"]
LEAK = 9


def memcheck(*arguments):
    command = ["valgrind", "--quiet", "--tool=memcheck", f"--error-exitcode={LEAK}", "--leak-check=no",
               "--undef-value-errors=yes", PROGRAM, *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", env={**os.environ, "WARPKEM_BACKEND": ""})


class ConstantTime(unittest.TestCase):
    def runs_clean(self, done, case):
        if done.returncode == 77:
            self.skipTest(done.stdout.strip())
        self.assertEqual(done.returncode, 0, f"{case}:\n{done.stdout[-6000:]}")

    def finds(self, what, text):
        done = memcheck("portable", "ML-KEM-512", what)
        self.assertEqual(done.returncode, LEAK, f"the check misses a {what}:\n{done.stdout}")
        self.assertIn(text, done.stdout)

    def test_a_planted_branch_is_found(self):
        self.finds("planted-branch", "Conditional jump or move depends on uninitialised value")

    def test_a_planted_address_is_found(self):
        self.finds("planted-address", "Use of uninitialised value")


def cases():
    for backend in ("portable", "avx2"):
        for operation in ("derive", "public-key"):
            yield backend, "X25519", operation
        for algorithm in ALGORITHMS:
            # OpenSSL's curves are slow, and know no groups.
            counts = ["2"] if re.search("256r|384r|-P", algorithm) else []
            for operation in OPERATIONS:
                yield backend, algorithm, operation, *counts


def add_cases():
    """A test for each case. Their runs are begun here, as many at once as there are cores."""
    pool = concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    for case in cases():
        done = pool.submit(memcheck, *case)
        setattr(ConstantTime, f"test_{'_'.join(case[:3])}".replace("-", "_"),
                lambda self, done=done, case=case: self.runs_clean(done.result(), " ".join(case[:3])))


DIVISION = re.compile(r"^(i?div[bwlq]?|v?div[ps][sd]|fi?div\w*|[fi]prem1?)$")


def divisions(objects):
    """Every division instruction in the text of the objects."""
    text = subprocess.run(["objdump", "--disassemble", "--no-show-raw-insn", *objects], stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    found, function, instructions = [], "", 0
    for line in text.splitlines():
        if match := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            function = match[1]
        elif match := re.match(r"\s+[0-9a-f]+:\s+(\S+)", line):
            instructions += 1
            if DIVISION.match(match[1]):
                found.append(f"{function}: {line.strip()}")
    return found, instructions


class Divisions(unittest.TestCase):
    def test_no_backend_divides(self):
        self.assertTrue(OBJECTS, "no object files were given")
        for path in OBJECTS:
            found, instructions = divisions([path])
            self.assertEqual(found, [], path)
            if "probe" not in path:
                self.assertGreater(instructions, 1000, f"{path}: nothing was disassembled")

    def test_a_planted_division_is_found(self):
        folder = pathlib.Path(PROGRAM).parent
        source, planted = folder / "planted_division.c", folder / "planted_division.o"
        source.write_text("unsigned f(unsigned a, unsigned b) { return a / b; }\nfloat g(float a, float b) { return a / b; }\n")
        subprocess.run(["cc", "-O2", "-c", source, "-o", planted], check=True)
        self.assertEqual(len(divisions([planted])[0]), 2)


class Declassification(unittest.TestCase):
    def test_every_point_is_on_the_list(self):
        root = pathlib.Path(SOURCE)
        points = set()
        for path in sorted((root / "host").rglob("*.[ch]pp")):
            if path.name == "ct.hpp":
                continue
            for line in path.read_text().splitlines():
                if re.search(r"\bdeclassify\(", line):
                    points.add(f"{path.relative_to(root)}: {line.strip()}")
        listed = {line for line in (root / "tests/ct/declassified.txt").read_text().splitlines()
                  if line and not line.startswith("#")}
        self.assertEqual(points, listed, "declassify() is called where tests/ct/declassified.txt does not say so, or the reverse")

    def test_nothing_else_speaks_to_the_checker(self):
        root = pathlib.Path(SOURCE)
        for path in sorted([*(root / "host").rglob("*.[ch]pp"), *(root / "include").rglob("*.h*")]):
            if path != root / "host/core/ct.hpp":
                self.assertNotRegex(path.read_text(), r"\bVALGRIND_|valgrind/|xchg[lq]? +%rbx", str(path))

    def test_every_point_says_why(self):
        for line in (pathlib.Path(SOURCE) / "tests/ct/declassified.txt").read_text().splitlines():
            if line and not line.startswith("#"):
                self.assertIn("//", line)


if __name__ == "__main__":
    add_cases()
    unittest.main(argv=sys.argv[:1], verbosity=2)
