#!/usr/bin/env python3
"""Every kernel, assembled for three architectures: no spills, no stack.

    resources_test.py NVCC
"""
import json
import pathlib
import subprocess
import sys
import unittest

NVCC = sys.argv[1]
ROOT = pathlib.Path(__file__).resolve().parents[2]
ARCHITECTURES = ("80", "90", "120")
KERNELS = ("sponge", "prf", "matrix", "collect", "sponge_by_warp", "prf_by_warp", "matrix_by_warp", "keygen", "encrypt", "decrypt", "reencrypt", "check_modulus", "copy_records",
           "resolve_keys", "list_failed", "zero_failed")


class Resources(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        report = subprocess.run([str(ROOT / "tools/kernel-report"), "--json", "--nvcc", NVCC, "--arch",
                                 ",".join(ARCHITECTURES)], check=True, stdout=subprocess.PIPE)
        cls.kernels = json.loads(report.stdout)["static"]

    def test_nothing_spills_and_nothing_has_a_stack(self):
        for kernel in self.kernels:
            with self.subTest(kernel=kernel["name"], sm=kernel["sm"]):
                self.assertEqual((kernel["spill_store_bytes"], kernel["spill_load_bytes"], kernel["stack_bytes"]),
                                 (0, 0, 0))

    def test_no_kernel_was_forgotten(self):
        for sm in ARCHITECTURES:
            names = [kernel["name"] for kernel in self.kernels if kernel["sm"] == sm]
            for name in KERNELS:
                self.assertTrue(any(name + "_kernel" in other for other in names), (sm, name))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
