#!/usr/bin/env python3
"""Secrets leave no trace in what the emulator counts: with equal public input and different secrets every kernel runs the
same instructions and branches, and makes the same memory transactions.

    constant_time_test.py PTXEMU_RUN KERNEL_RUN
"""
import itertools
import json
import os
import subprocess
import sys
import tempfile
import unittest

RUNNER, PROGRAM = sys.argv[1:3]
# Hashed by warps and by threads, and as large batches are; none fills its blocks.
COUNTS = (("5", "chosen"), ("601", "chosen"), ("100", "by_thread"))


def profile(operation, algorithm, variant, count, hashing="chosen"):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "profile.json")
        subprocess.run([RUNNER, PROGRAM, operation, algorithm, count, str(variant), hashing], check=True,
                       env=dict(os.environ, PTXEMU_PROFILE=path, PTXEMU_HOT="1000000"))
        with open(path) as file:
            return {kernel["name"]: kernel for kernel in json.load(file)["kernels"]}


SETS = ("ML-KEM-512", "ML-KEM-768", "ML-KEM-1024")
TLS, X_WING = ("X25519MLKEM768",), ("MLKEM768-X25519",)


class ConstantTime(unittest.TestCase):
    def compare(self, operation, variant, algorithms=SETS):
        for algorithm, (count, hashing) in itertools.product(algorithms, COUNTS):
            with self.subTest(operation=operation, algorithm=algorithm, variant=variant, count=count):
                first, second = (profile(operation, algorithm, v, count, hashing) for v in (0, variant))
                self.assertEqual(sorted(first), sorted(second))
                self.assertGreater(sum(kernel["warp_instructions"] for kernel in first.values()), 10_000)
                for name, kernel in first.items():
                    # "hot" has every instruction that ran: how often, for how many lanes, with how many transactions.
                    self.assertTrue(kernel["hot"])
                    self.assertEqual(kernel, second[name], name)

    def test_encaps_of_another_m(self):
        self.compare("encaps", 1)
        self.compare("encaps_prepared", 1)

    def test_decaps_of_a_valid_and_of_a_rejected_c(self):
        self.compare("decaps", 1)
        self.compare("decaps_prepared", 1)
        self.compare("decaps_seed", 1)

    def test_decaps_with_another_s_and_z(self):
        self.compare("decaps", 2)
        self.compare("decaps_prepared", 2)

    def test_keygen_of_another_sigma(self):
        self.compare("keygen_from_rho", 1)

    def test_hybrids_with_other_scalars(self):
        self.compare("keygen", 1, TLS)
        self.compare("keygen_composite", 1, X_WING)
        self.compare("encaps", 1, TLS + X_WING)
        self.compare("decaps", 2, TLS)
        self.compare("decaps_composite", 2, X_WING)
        self.compare("encaps_prepared", 1, X_WING)
        self.compare("decaps_prepared", 2, TLS)

    def test_hybrids_that_reject_the_half_of_ml_kem(self):
        self.compare("decaps", 1, TLS + X_WING)

    def test_that_a_difference_would_be_seen(self):
        first = profile("decaps", "ML-KEM-512", 0, "5")
        other = profile("decaps", "ML-KEM-768", 0, "5")
        self.assertNotEqual(first, other)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
