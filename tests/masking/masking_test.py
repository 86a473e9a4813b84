#!/usr/bin/env python3
"""Older CPUs, by emulation: QEMU runs the library on CPUs that lack AVX2 and its kin, and ends it at the first instruction
that such a CPU does not have. masking_test.py PROGRAM WORK_FOLDER"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import unittest

PROGRAM, WORK = (pathlib.Path(path) for path in sys.argv[1:3])
QEMU = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")

# CPU, as QEMU calls it; the backends that it can run, best first. The whole self-test of a backend runs on the CPU that has the
# least for it; the others do a few items.
WHOLE = ("qemu64", "Haswell")
CPUS = [
    ("qemu64", ["portable"]),  # x86-64 as it began
    ("Nehalem", ["portable"]),
    ("SandyBridge", ["portable"]),  # AVX, but not AVX2
    ("Haswell", ["avx2", "portable"]),
    ("Haswell,-avx2", ["portable"]),
    ("Haswell,-bmi2", ["portable"]),
    ("Haswell,-avx", ["portable"]),
    ("Haswell,-xsave", ["portable"]),  # the system does not save the wide registers
    ("max", ["avx2", "portable"]),  # QEMU has no AVX-512
]


def emulate(cpu, program, *arguments):
    return subprocess.run([QEMU, "-cpu", cpu, program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, env={**os.environ, "WARPKEM_BACKEND": ""})


@unittest.skipUnless(QEMU, "no qemu-x86_64 (Debian: qemu-user)")
class MaskedFeatures(unittest.TestCase):
    def test_only_what_the_cpu_has_is_used(self):
        for cpu, backends in CPUS:
            with self.subTest(cpu=cpu):
                done = emulate(cpu, PROGRAM, *([] if cpu in WHOLE else ["briefly"]))
                self.assertEqual(done.returncode, 0, f"{cpu}: {done.returncode}\n{done.stdout}")
                self.assertEqual(re.findall(r"usable: (\w+)", done.stdout), backends, done.stdout)
                self.assertEqual(re.findall(r"preferred: (\w+)", done.stdout), backends[:1], done.stdout)

    def test_a_planted_instruction_ends_the_program(self):
        source, planted = WORK / "planted_avx2.c", WORK / "planted_avx2"
        source.write_text("#include <immintrin.h>\nint main(int argc, char **argv) {\n  __m256i x = _mm256_set1_epi32(argc);\n"
                          "  (void)argv;\n  return _mm256_movemask_epi8(_mm256_add_epi32(x, x)) == 12345;\n}\n")
        subprocess.run(["cc", "-O1", "-mavx2", source, "-o", planted], check=True)
        self.assertEqual(emulate("Haswell", planted).returncode, 0)
        self.assertEqual(emulate("Nehalem", planted).returncode, -signal.SIGILL)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
