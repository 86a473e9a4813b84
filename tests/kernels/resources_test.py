#!/usr/bin/env python3
"""Every kernel, compiled for three architectures: no spills, no stack, and as many resident warps as planned. The other rows
of policy.hpp say which of the three they are like. With WARPKEM_LONG_TESTS set: for every architecture of the preset
`release`.

    resources_test.py NVCC
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import unittest

NVCC = sys.argv[1]
ROOT = pathlib.Path(__file__).resolve().parents[2]
KERNELS = ("hash", "arithmetic", "mixed", "decrypt", "check_modulus", "copy_records", "copy", "resolve_keys", "finish",
           "public_key", "derive", "check_secrets", "check_elements")
SETS, ARITHMETIC = ("MlKem512", "MlKem768", "MlKem1024"), ("KeygenArgs", "EncryptArgs", "ReencryptArgs")
# Warps of a multiprocessor; README.md says why. Shared memory binds the kernel that samples A, registers bind the others.
MATRIX_WARPS = {"75": 3, "80": 9, "86": 5, "87": 9, "88": 9, "89": 5, "90": 12, "100": 12, "103": 12, "110": 12, "120": 5}
WARPS = {"hash_kernel<false>": 20, "public_key_kernel": 16, "derive_kernel": 16,
         **{f"decrypt_kernel<{parameters}>": 20 for parameters in SETS},
         **{f"arithmetic_kernel<{parameters}, {args}>": 8 if parameters == "MlKem1024" else 12
            for parameters in SETS for args in ARITHMETIC}}
MIXED = [f"mixed_kernel<{parameters}, {args}>" for parameters in SETS for args in ARITHMETIC]


def architectures():
    if not os.environ.get("WARPKEM_LONG_TESTS"):
        return ["80", "90", "120"]
    codes = subprocess.run([NVCC, "--list-gpu-code"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return [sm for sm in re.findall(r"sm_(\d+)\b", codes) if 75 <= int(sm) <= 120]


class Resources(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.architectures = architectures()
        report = subprocess.run([str(ROOT / "tools/kernel-report"), "--json", "--nvcc", NVCC, "--arch",
                                 ",".join(cls.architectures)], check=True, stdout=subprocess.PIPE)
        cls.kernels = json.loads(report.stdout)["static"]

    def test_nothing_spills_and_nothing_has_a_stack(self):
        for kernel in self.kernels:
            with self.subTest(kernel=kernel["name"], sm=kernel["sm"]):
                self.assertEqual((kernel["spill_store_bytes"], kernel["spill_load_bytes"], kernel["stack_bytes"]),
                                 (0, 0, 0))

    def test_multiprocessors_hold_the_warps_that_the_policy_plans(self):
        for kernel in self.kernels:
            # Compute capability 7.5 has too little shared memory for all of them.
            planned = MATRIX_WARPS[kernel["sm"]] if kernel["name"] == "hash_kernel<true>" else \
                0 if kernel["sm"] == "75" else WARPS.get(kernel["name"], 0)
            if kernel["name"] in MIXED:  # shared memory, or registers where k is 4
                planned = min(MATRIX_WARPS[kernel["sm"]], 8 if "MlKem1024" in kernel["name"] else 12)
            with self.subTest(kernel=kernel["name"], sm=kernel["sm"]):
                self.assertGreaterEqual(kernel["warps"], planned)

    def test_no_kernel_was_forgotten(self):
        for sm in self.architectures:
            names = [kernel["name"] for kernel in self.kernels if kernel["sm"] == sm]
            for name in (*WARPS, *MIXED, "hash_kernel<true>"):
                self.assertIn(name, names, sm)
            for name in KERNELS:
                self.assertTrue(any(name + "_kernel" in other for other in names), (sm, name))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
