#!/usr/bin/env python3
"""Constant time, checked instruction by instruction: runs ct_program under its own stepper for every CPU backend that this
CPU can run. Also: the stepper finds every planted fault where it is, reports none of the harmless twins, and has a rule for
every instruction of the backends, those of which this CPU is not capable included.

stepper_test.py PROGRAM OBJECT...  (from CMake). WARPKEM_LONG_TESTS: larger batches, all secrets for each.
"""
import os
import pathlib
import re
import subprocess
import sys
import unittest

PROGRAM, *OBJECTS = sys.argv[1:] if len(sys.argv) > 1 else [None]
LONG = bool(os.environ.get("WARPKEM_LONG_TESTS"))
ALGORITHMS = ["ML-KEM-512", "ML-KEM-768", "ML-KEM-1024"]
OPERATIONS = ["keygen", "encaps", "encaps-prepared", "decaps", "decaps-invalid", "decaps-seed", "decaps-prepared", "check"]
# portable has no groups: one item is as good as many. The others: alone; a full group and a tail of one.
COUNTS = {"portable": ["1"], "avx2": ["1", "9"], "avx512": ["1", "9"], "avx512-ifma": ["1", "9"]}
LONG_COUNTS = {backend: ["1", "3"] if backend == "portable" else ["1", "2", "4", "5", "8", "9", "17"] for backend in COUNTS}
LEAK, NO_RULE, SKIPPED = 9, 3, 77


def step(*arguments, **more):
    return subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", env={**os.environ, "WARPKEM_BACKEND": ""},
                          **({"stdin": subprocess.DEVNULL} | more))


def leaks(text):
    """(what, file, offset) of each report."""
    return [(match[1], pathlib.Path(match[2]).name, int(match[3], 16))
            for match in re.finditer(r"^leak: ([^:]+): .* at (\S+)\+0x([0-9a-f]+)$", text, re.M)]


def explained(text):
    """The reports with the names of functions, where the files have them."""
    lines = []
    for line in text.splitlines()[:40]:
        if match := re.match(r"leak: .* at (\S+)\+(0x[0-9a-f]+)$", line):
            named = subprocess.run(["addr2line", "-f", "-C", "-i", "-e", match[1], match[2]], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True).stdout
            line += "  " + " ".join(named.split("\n")[::2])[:300]
        lines.append(line)
    return "\n".join(lines)


class Operations(unittest.TestCase):
    def runs_clean(self, backend, algorithm, operation):
        done = step(backend, algorithm, operation, *(LONG_COUNTS if LONG else COUNTS)[backend])
        if done.returncode == SKIPPED:
            self.skipTest(done.stdout.strip())
        self.assertEqual(done.returncode, 0, f"{backend} {algorithm} {operation}:\n{explained(done.stdout)}")
        # A run that stepped through nothing has shown nothing.
        steps = [int(number) for number in re.findall(r"items: (\d+) instructions", done.stdout)]
        self.assertGreater(min(steps), 10000)

    def test_other_secrets_give_another_trace_where_a_secret_decides(self):
        for operation in ("planted-branch", "planted-address"):
            done = step("portable", "ML-KEM-512", operation, "1")
            self.assertEqual(done.returncode, LEAK, done.stdout)
            self.assertIn("traces differ", [what for what, _, _ in leaks(done.stdout)], done.stdout)


for backend in COUNTS:
    for operation in ("derive", "public-key"):
        name = f"test_{backend}_X25519_{operation}".replace("-", "_")
        setattr(Operations, name, lambda self, case=(backend, "X25519", operation): self.runs_clean(*case))
    if backend == "avx512-ifma":  # of the curve only
        continue
    for algorithm in ALGORITHMS:
        for operation in OPERATIONS:
            name = f"test_{backend}_{algorithm}_{operation}".replace("-", "_")
            setattr(Operations, name, lambda self, case=(backend, algorithm, operation): self.runs_clean(*case))


class Planted(unittest.TestCase):
    def is_reported(self, name, expected, placed):
        done = step("planted", name)
        if done.returncode == SKIPPED:
            self.skipTest(done.stdout.strip())
        found = leaks(done.stdout)
        if expected == "":
            self.assertEqual((done.returncode, found), (0, []), explained(done.stdout))
            return
        self.assertEqual(done.returncode, NO_RULE if expected == "no rule" else LEAK, done.stdout)
        if placed:
            place = (expected, pathlib.Path(PROGRAM).name, self.symbols[f"planted_{name}_place"])
            self.assertEqual(found, [place], explained(done.stdout))
        else:
            self.assertIn(expected, [what for what, _, _ in found], done.stdout)

    @classmethod
    def setUpClass(cls):
        listed = subprocess.run(["nm", PROGRAM], stdout=subprocess.PIPE, text=True, check=True).stdout
        cls.symbols = {line.split()[2]: int(line.split()[0], 16) for line in listed.splitlines() if len(line.split()) == 3}


def listed_faults():
    done = step("planted")
    return [line.split(":") for line in done.stdout.splitlines()] if done.returncode == 0 else []


class Rules(unittest.TestCase):
    def test_every_instruction_of_the_backends_has_a_rule(self):
        self.assertTrue(OBJECTS, "no object files were given")
        for path in OBJECTS:
            text = subprocess.run(["objdump", "--disassemble", "--insn-width=16", path], stdout=subprocess.PIPE, text=True,
                                  check=True).stdout
            encoded = re.findall(r"^\s+[0-9a-f]+:\t((?:[0-9a-f]{2} )+)", text, re.M)
            if "probe" not in path:
                self.assertGreater(len(encoded), 1000, f"{path}: nothing was disassembled")
            done = step("unknown", input="\n".join(sorted(set(encoded))) + "\n", stdin=None)
            self.assertEqual((done.returncode, done.stdout), (0, ""), path)

    def test_an_instruction_without_a_rule_is_named(self):
        done = step("unknown", input="48 89 c8\nd9 e8\n", stdin=None)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no rule for fld1", done.stdout)


class NoStepper(unittest.TestCase):
    def test_stepper(self):
        self.skipTest(step("planted").stdout.strip() or "ct_program cannot be run")


if __name__ == "__main__":
    faults = listed_faults()
    for name, expected, place in faults:
        setattr(Planted, f"test_{name}_is_{'reported' if expected else 'not_reported'}",
                lambda self, case=(name, expected, place == "here"): self.is_reported(*case))
    cases = [Operations, Planted, Rules] if faults else [NoStepper]
    suite = unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromTestCase(case) for case in cases)
    sys.exit(not unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful())
