#!/usr/bin/env python3
"""What becomes of the tool's outputs: exit statuses without a listener, memory, files in each other's way, pairs that
belong together, temporaries. WARPKEM_TOOL is the executable."""
import os
import subprocess
import sys
import unittest

from test_tool import C, DK, EK, P, SANITIZED, TOOL, ToolTest


def closed(number):
    return lambda: os.close(number)


def onto(path, flags, number):
    def replace():
        fd = os.open(path, flags)
        os.dup2(fd, number)
        os.close(fd)
    return replace


def broken_pipe(number):
    def replace():
        read, write = os.pipe()
        os.close(read)
        os.dup2(write, number)
        os.close(write)
    return replace


def unlistened(number):
    """Ways in which nobody reads a descriptor, each to be made so in the child."""
    ways = {"closed": closed(number), "broken pipe": broken_pipe(number),
            "read-only": onto("/dev/null", os.O_RDONLY, number)}
    if os.path.exists("/dev/full"):
        ways["full"] = onto("/dev/full", os.O_WRONLY, number)
    return ways.items()


class NobodyListens(ToolTest):
    """Exit statuses hold whatever becomes of standard error and output."""

    def setUp(self):
        super().setUp()
        self.keygen(12)
        ek = bytearray(self.read("ek"))
        for i in range(11):
            ek[i * EK:i * EK + 2] = b"\xff\xff"
        self.write("bad", ek)

    def status_of(self, arguments, prepare, **options):
        options.setdefault("stdout", subprocess.DEVNULL)
        return subprocess.run([TOOL, *map(str, arguments)], cwd=self.dir, preexec_fn=prepare, timeout=300, **options)

    def commands(self):
        """Arguments and the exit status that they have."""
        out = ["--ciphertext", "/dev/null", "--shared-secret", "/dev/null"]
        return [(["frobnicate"], 1), ([], 1), (["keygen"], 1), (["keygen", "--param", "x" * 5000], 1),
                (["keygen", "--param", P, "--count", 1, "--ek", "no/where", "--dk", "/dev/null"], 1),
                (["encaps", "--param", P, "--ek", "missing", *out], 1),
                (["bench", "--seconds", "-1"], 1), (["selftest", "--backend", "abacus"], 1),
                (["encaps", "--param", P, "--ek", "bad", *out], 2), (["check", "--param", P, "--ek", "bad"], 2),
                (["check", "--param", P, "--ek", "bad", "--json"], 2), (["encaps", "--param", P, "--ek", "ek", *out], 0),
                (["info"], 0), (["--help"], 0), (["--version"], 0)]

    def test_standard_error_is_not_there(self):
        for way, prepare in unlistened(2):
            for arguments, expected in self.commands():
                with self.subTest(stderr=way, arguments=[str(a)[:20] for a in arguments]):
                    self.assertEqual(self.status_of(arguments, prepare).returncode, expected)

    def test_neither_is_there(self):
        for way, prepare in unlistened(2):
            def both(prepare=prepare):
                prepare()
                os.close(1)
            for arguments, expected in self.commands():
                says_something = expected != 1 and arguments[0] in ("info", "--help", "--version") or "--json" in arguments
                with self.subTest(stderr=way, arguments=[str(a)[:20] for a in arguments]):
                    done = self.status_of(arguments, both, stdout=None)
                    self.assertEqual(done.returncode, 1 if says_something else expected)

    def test_standard_output_is_not_there(self):
        for way, prepare in unlistened(1):
            for arguments in (["info"], ["info", "--json"], ["--help"], ["keygen", "--help"], ["--version"], ["selftest"],
                              ["check", "--param", P, "--ek", "ek", "--json"], ["check", "--param", P, "--ek", "bad", "--json"],
                              ["keygen", "--param", P, "--count", 1, "--ek", "-", "--dk", "/dev/null"]):
                with self.subTest(stdout=way, arguments=arguments):
                    done = self.status_of(arguments, prepare, stdout=None, stderr=subprocess.PIPE)
                    self.assertEqual(done.returncode, 1, done.stderr)
                    self.assertRegex(done.stderr, rb"\Awarpkem[^\n]*: ")

    def test_no_file_gets_the_number_of_a_closed_descriptor(self):
        for streams in (0, 1, 2), (2,), (1, 2), (0, 2):
            def prepare(streams=streams):
                for number in streams:
                    os.close(number)
            with self.subTest(closed=streams):
                done = self.status_of(["encaps", "--param", P, "--ek", "bad", "--ciphertext", "c", "--shared-secret", "K"],
                                      prepare, stdout=None)
                self.assertEqual(done.returncode, 2)
                self.assertEqual((len(self.read("c")), len(self.read("K"))), (12 * C, 12 * 32))
                self.assertEqual(self.read("c")[:11 * C], bytes(11 * C))
                os.unlink(self.dir / "c")
                os.unlink(self.dir / "K")

    def test_standard_error_that_does_not_wait(self):
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        os.set_blocking(write, False)
        while True:
            try:
                os.write(write, bytes(65536))
            except BlockingIOError:
                break
        done = self.status_of(["check", "--param", P, "--ek", "bad"], None, stderr=write)
        os.close(write)
        self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
