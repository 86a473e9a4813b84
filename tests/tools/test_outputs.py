#!/usr/bin/env python3
"""What becomes of the tool's outputs: exit statuses without a listener, memory, files in each other's way, pairs that
belong together, temporaries. WARPKEM_TOOL is the executable."""
import base64
import os
import pathlib
import pty
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import unittest

from tool_case import C, DK, EK, INVALID_EK, P, SANITIZED, TOOL, ToolTest

FAULTS = os.environ.get("WARPKEM_FILE_FAULTS")
faults_can_be_made = unittest.skipIf(SANITIZED or not FAULTS, "no faults can be slipped in here: a sanitizer wants to "
                                     "come first, or WARPKEM_FILE_FAULTS is not set")


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
        start = time.monotonic()
        done = self.status_of(["check", "--param", P, "--ek", "bad"], None, stderr=write)
        self.assertLess(time.monotonic() - start, 8, "it waits for each of 11 lines")
        os.close(write)
        self.assertEqual(done.returncode, 2)


class MemoryFollows(ToolTest):
    """Memory is that of the records that come, not of those that might."""

    def peak_of(self, data, *arguments, rc=0):
        """Peak resident memory in KiB, `data` coming through a pipe."""
        script = ("import resource, subprocess, sys; rc = subprocess.run(sys.argv[1:]).returncode;"
                  "print(rc, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
        done = subprocess.run([sys.executable, "-c", script, TOOL, *map(str, arguments)], cwd=self.dir, check=True,
                              input=data, stdout=subprocess.PIPE, timeout=300)
        status, peak = map(int, done.stdout.split())
        self.assertEqual(status, rc)
        return peak

    @unittest.skipIf(SANITIZED, "a sanitizer's memory is not the tool's")
    def test_large_batch_of_few_records(self):
        self.keygen(10)
        self.encaps("--key-reuse", 2)
        ek, dk, c = (self.read(f) for f in ("ek", "dk", "c"))
        self.write("c1", b"".join(c[i * 2 * C:i * 2 * C + C] for i in range(10)))
        self.write("m", bytes(10 * 32))
        out = "--ciphertext", "/dev/null", "--shared-secret", "/dev/null"
        for batch in 4_000_000, 1 << 24:
            for data, arguments in (
                    (os.urandom(640), ["keygen", "--seeds", "-", "--ek", "/dev/null", "--dk", "/dev/null"]),
                    (ek, ["encaps", "--ek", "-", *out]), (ek, ["encaps", "--ek", "-", "--key-reuse", 3, *out]),
                    (ek, ["encaps", "--ek", "-", "--m", "m", *out]),
                    (dk, ["decaps", "--dk", "-", "--ciphertext", "c1", "--shared-secret", "/dev/null"]),
                    (dk, ["decaps", "--dk", "-", "--ciphertext", "c", "--key-reuse", 2, "--shared-secret", "/dev/null"]),
                    (ek, ["check", "--ek", "-", "--status", "/dev/null"]), (dk, ["check", "--dk", "-"])):
                with self.subTest(batch=batch, arguments=arguments):
                    self.assertLess(self.peak_of(data, *arguments, "--param", P, "--batch", batch), 200 * 1024)

    def test_batches_that_grow_while_they_are_read(self):
        count = 2000  # records of more than one step of growth, and more than a pipe holds
        seeds = os.urandom(64 * count)
        results = set()
        for batch in 7, 1999, 2000, 2001, 100_000:
            done = self.tool("keygen", "--param", P, "--seeds", "-", "--ek", "ek", "--dk", "-", "--batch", batch, stdin=seeds)
            results.add((self.read("ek"), done.stdout))
            done = self.encaps("--key-reuse", 1, "--batch", batch, "--force", ek="-", stdin=self.read("ek"))
            self.assertEqual(len(self.read("c")), count * C)
            self.write("dk", next(iter(results))[1])
            self.decaps("--batch", batch, "--force")
            self.assertEqual(self.read("K"), self.read("K2"))
        self.assertEqual(len(results), 1)


class InEachOthersWay(ToolTest):
    """What would be mixed is refused, whatever the names."""

    def refused(self, *arguments, **options):
        done = subprocess.run([TOOL, *map(str, arguments)], cwd=self.dir, stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, timeout=60, **{"stdout": subprocess.PIPE, **options})
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, rb"\Awarpkem: --[^\n]* and --[^\n]*: ")
        return done

    def each_pair_refused(self, one, other, **options):
        for ek, dk in (one, other), (other, one):
            with self.subTest(ek=ek, dk=dk):
                keygen = "keygen", "--param", P, "--count", 2
                self.refused(*keygen, "--ek", ek, "--dk", dk, **options)
                self.refused(*keygen, "--ek", ek, "--dk", "/dev/null", "--status", dk, **options)
                self.refused(*keygen, "--ek", "/dev/null", "--dk", ek, "--status", dk, **options)

    def test_two_outputs_to_one_named_pipe(self):
        os.mkfifo(self.dir / "pipe")
        os.link(self.dir / "pipe", self.dir / "hard")
        os.symlink("pipe", self.dir / "soft")
        os.symlink("soft", self.dir / "softer")
        reader = os.open(self.dir / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        for other in "pipe", "./pipe", self.dir / "pipe", "hard", "soft", "softer":
            self.each_pair_refused("pipe", other)
        self.assertEqual(os.read(reader, 1), b"")

    def test_two_outputs_to_one_inherited_descriptor(self):
        read, write = os.pipe()
        again = os.dup(write)
        ours, theirs = socket.socketpair()
        with ours, theirs, os.fdopen(read, "rb") as reader, open(write, "wb", 0), open(again, "wb", 0):
            options = {"pass_fds": [write, again, theirs.fileno()]}
            for other in f"/dev/fd/{write}", f"/proc/self/fd/{write}", f"/dev/fd/{again}":
                self.each_pair_refused(f"/dev/fd/{write}", other, **options)
            self.each_pair_refused(f"/dev/fd/{theirs.fileno()}", f"/proc/self/fd/{theirs.fileno()}", **options)
            for other in f"/dev/fd/{write}", "-", "/dev/stdout", "/dev/fd/1":
                self.each_pair_refused("-", other, stdout=again, **options)
            keygen = "keygen", "--param", P, "--count", 2, "--json"
            self.refused(*keygen, "--ek", f"/dev/fd/{write}", "--dk", "/dev/null", stdout=again, **options)
            os.set_blocking(read, False)
            self.assertIsNone(reader.read(1))
            ours.setblocking(False)
            with self.assertRaises(BlockingIOError):
                ours.recv(1)

    def test_two_outputs_to_one_terminal(self):
        master, terminal = pty.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, terminal)
        name = os.ttyname(terminal)
        self.each_pair_refused(name, f"/dev/fd/{terminal}", pass_fds=[terminal])

    def test_output_and_input_are_one_pipe(self):
        os.mkfifo(self.dir / "pipe")
        both = os.open(self.dir / "pipe", os.O_RDWR | os.O_NONBLOCK)
        self.addCleanup(os.close, both)
        out = "--ek", "pipe", "--dk", "/dev/null"
        self.refused("keygen", "--param", P, "--seeds", "pipe", *out)
        self.refused("keygen", "--param", P, "--seeds", f"/dev/fd/{both}", *out, pass_fds=[both])

    def test_two_inputs_from_one_pipe_or_descriptor(self):
        os.mkfifo(self.dir / "pipe")
        both = os.open(self.dir / "pipe", os.O_RDWR | os.O_NONBLOCK)
        self.addCleanup(os.close, both)
        self.write("same", os.urandom(32 * 37))
        with open(self.dir / "same", "rb") as file:
            for name in "pipe", f"/dev/fd/{both}", f"/dev/fd/{file.fileno()}":
                self.refused("encaps", "--param", P, "--ek", name, "--m", name, "--ciphertext", "c", "--shared-secret", "K",
                             "--key-reuse", 37, pass_fds=[both, file.fileno()])
        self.assertNothingWritten(["pipe", "same"])

    def test_what_is_not_mixed_is_accepted(self):
        self.keygen(3, "/dev/null", "/dev/null", P, "--status", "/dev/null")
        if os.path.exists("/dev/full"):
            self.tool("keygen", "--param", P, "--count", 0, "--ek", "/dev/full", "--dk", "/dev/full")
        for name in "p1", "p2":
            os.mkfifo(self.dir / name)
        read, write = os.pipe()
        process = self.start("keygen", "--param", P, "--count", 3, "--ek", "p1", "--dk", "p2", "--status", f"/dev/fd/{write}",
                             pass_fds=[write])
        os.close(write)
        found = {}
        readers = [threading.Thread(target=lambda n=n: found.update({n: self.read(n)})) for n in ("p1", "p2")]
        for reader in readers:
            reader.start()
        with os.fdopen(read, "rb") as pipe:
            self.assertEqual(pipe.read(), bytes(3))
        for reader in readers:
            reader.join()
        self.assertEqual(process.wait(60), 0)
        self.assertEqual((len(found["p1"]), len(found["p2"])), (3 * EK, 3 * DK))
        # A socket is another thing in each direction.
        self.keygen(3)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(self.read("ek"))
            ours.shutdown(socket.SHUT_WR)
            self.tool("encaps", "--param", P, "--ek", "-", "--ciphertext", "-", "--shared-secret", "K", stdin=theirs, stdout=theirs)
            theirs.close()
            c = b""
            while part := ours.recv(65536):
                c += part
        self.write("c", c)
        self.decaps()
        self.assertEqual(self.read("K"), self.read("K2"))


class SecretsAreKept(ToolTest):
    """A file that holds dk or K is replaced only with --force."""

    def setUp(self):
        super().setUp()
        self.keygen(2)
        self.encaps()
        self.decaps()

    def contents(self):
        return {name: self.read(name) for name in self.files() if stat.S_ISREG(os.stat(self.dir / name).st_mode)}

    def runs(self, dk="dk", K="K", K2="K2"):
        ek = "ek" if dk == "dk" else "ek-of-another"
        return [["keygen", "--param", P, "--count", 2, "--ek", ek, "--dk", dk],
                ["keygen", "--param", "ML-KEM-512", "--count", 1, "--ek", ek, "--dk", dk, "--dk-format", "seed", "--status", "s"],
                ["encaps", "--param", P, "--ek", "ek", "--ciphertext", "c", "--shared-secret", K],
                ["decaps", "--param", P, "--dk", "dk", "--ciphertext", "c", "--shared-secret", K2]]

    def test_refused_and_nothing_is_touched(self):
        for name in "dk", "K", "K2":
            os.symlink(name, self.dir / f"{name}-soft")
            os.link(self.dir / name, self.dir / f"{name}-hard")
        before = self.contents()
        for arguments in self.runs() + self.runs("dk-soft", "K-soft", "K2-soft") + self.runs(
                "dk-hard", "K-hard", "K2-hard") + self.runs("./dk", "./K", self.dir / "K2"):
            with self.subTest(arguments=arguments):
                done = self.tool(*arguments, rc=1)
                self.assertRegex(done.stderr, "--(dk|shared-secret) [^\n]*--force")
                self.assertEqual(self.contents(), before)

    def test_force(self):
        before = self.contents()
        self.keygen(2, "ek", "dk", P, "--force")
        self.encaps("--force")
        self.decaps("--force")
        after = self.contents()
        self.assertEqual(after.keys(), before.keys())
        for name in before:
            self.assertNotEqual(after[name], before[name])
        self.assertEqual(self.read("K"), self.read("K2"))
        for name in "dk", "K", "K2":
            self.assertEqual(stat.S_IMODE(os.stat(self.dir / name).st_mode), 0o600)

    def public_outputs(self, name):
        """Every way to write what is public to a file."""
        ek, c, K = ["--ek", "ek"], ["--ciphertext", "c"], ["--shared-secret", "/dev/null"]
        for command, output in ((["keygen", "--count", 2, "--dk", "new"], "--ek"),
                                (["keygen", "--count", 2, "--dk", "new", "--ek", "new-ek"], "--status"),
                                (["encaps", *ek, *K], "--ciphertext"), (["encaps", *ek, *c, *K], "--status"),
                                (["decaps", "--dk", "dk", *c, *K], "--status"), (["check", *ek], "--status"),
                                (["check", *ek, "--dk", "dk"], "--status")):
            yield output, [*command, "--param", P, output, name]

    def test_what_is_public_does_not_replace_secrets_either(self):
        self.tool("keygen", "--param", P, "--count", 3, "--ek", "ek3", "--dk", "seeds", "--dk-format", "seed")
        shutil.copy(self.dir / "dk", self.dir / "dk-of-mine")
        shutil.copy(self.dir / "dk", self.dir / "dk-for-all")
        (self.dir / "dk-for-all").chmod(0o644)
        self.write("dk-cut", self.read("dk")[:-5])
        info = bytes.fromhex("3054020100300b0609608648016503040402044280") + b"\x40" + os.urandom(64)
        self.write("pkcs8", info)
        self.write("pem", b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(info) + b"\n-----END PRIVATE KEY-----\n")
        os.symlink("K", self.dir / "soft")
        before = self.contents()
        for secret, what in (("dk-of-mine", "expanded dk of ML-KEM-768"), ("dk-for-all", "expanded dk of ML-KEM-768"),
                             ("dk-cut", "expanded dk of ML-KEM-768"), ("pkcs8", "PrivateKeyInfo"), ("pem", "PRIVATE KEY"),
                             ("K", "0600"), ("K2", "0600"), ("seeds", "0600"), ("soft", "0600")):
            for output, arguments in self.public_outputs(secret):
                with self.subTest(arguments):
                    done = self.tool(*arguments, rc=1)
                    self.assertIn(f"{output} {secret}: is there already", done.stderr)
                    self.assertIn(what, done.stderr)
                    self.assertIn("--force", done.stderr)
                    self.assertEqual(self.contents(), before)
        with open(self.dir / "K", "r+b") as file:
            self.tool("check", "--ek", "ek", "--status", "-", "--param", P, stdout=file, rc=1)
            self.assertEqual(self.contents(), before)
        for output, arguments in self.public_outputs("K"):
            self.tool(*arguments, "--force")
            self.assertNotEqual(self.read("K"), before["K"])
            self.write("K", before["K"])

    def test_shared_secrets_that_all_may_read_are_told_by_their_length(self):
        (self.dir / "K").chmod(0o644)
        before = self.contents()
        for output, arguments in self.public_outputs("K"):
            done = self.tool(*arguments, rc=1)
            self.assertIn(f"{output} K: is there already, and its length is that of 2 shared secrets", done.stderr)
            self.assertEqual(self.contents(), before)
        self.write("K", b"0 failed\n".ljust(64))  # text
        self.tool("check", "--param", P, "--ek", "ek", "--status", "K")

    def test_a_replaced_ek_is_told(self):
        old = "their dk, if it is kept elsewhere, belongs to none of the new ones"
        self.assertIn(old, self.keygen(2, "ek", "dk-new").stderr)
        self.assertNotIn(old, self.keygen(2, "ek-new", "dk-third").stderr)
        self.assertNotIn(old, self.keygen(2, "ek", "dk", P, "--force").stderr)

    def test_secret_that_appears_meanwhile(self):
        process = self.start("check", "--param", P, "--ek", "-", "--status", "s", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.stderr.close)
        process.stdin.write(self.read("ek"))
        process.stdin.flush()
        shutil.copy(self.dir / "dk", self.dir / "s")
        process.stdin.close()
        self.assertEqual(process.wait(60), 1)
        self.assertEqual(self.read("s"), self.read("dk"))

    def test_what_is_public_is_replaced_though_nobody_else_may_read_it(self):
        for content in self.read("ek"), bytes(2), bytes([INVALID_EK, 0]):
            for _, arguments in self.public_outputs("there"):
                self.write("there", content)
                (self.dir / "there").chmod(0o600)
                self.tool(*arguments)
                self.assertTrue(self.read("there"))
                (self.dir / "new").unlink(missing_ok=True)

    def test_what_is_public_is_replaced_as_ever(self):
        ek = self.read("ek")
        self.keygen(2, "ek", "dk-new", P, "--status", "c")
        self.assertNotEqual(self.read("ek"), ek)
        self.assertEqual(self.read("c"), bytes(2))
        self.encaps(K="K-new")
        self.assertEqual(len(self.read("c")), 2 * C)

    def test_empty_files_and_what_is_no_file_need_no_force(self):
        for name in "dk", "K":
            self.write(name, b"")
        self.keygen(2)
        self.encaps()
        for _ in range(2):
            self.keygen(2, "ek", "/dev/null")
        os.mkfifo(self.dir / "pipe")
        for _ in range(2):
            process = self.start("keygen", "--param", P, "--count", 1, "--ek", "ek", "--dk", "pipe")
            self.assertEqual(len(self.read("pipe")), DK)
            self.assertEqual(process.wait(60), 0)

    def test_inherited_files(self):
        dk = self.read("dk")
        for mode in "r+b", "ab", "wb":
            with open(self.dir / "dk", mode) as file:
                keygen = "keygen", "--param", P, "--count", 2, "--ek", "ek", "--dk"
                for name in "-", "/dev/stdout":
                    self.tool(*keygen, name, stdout=file, rc=1 if mode == "r+b" else 0)
                if mode == "r+b":
                    self.tool(*keygen, f"/dev/fd/{file.fileno()}", pass_fds=[file.fileno()], rc=1)
                    self.assertEqual(self.read("dk"), dk)
                    self.tool(*keygen, "-", "--force", stdout=file)
                    self.assertNotEqual(self.read("dk"), dk)
                    self.assertEqual(len(self.read("dk")), len(dk))
                if mode == "ab":
                    self.assertEqual(len(self.read("dk")), 3 * len(dk))

    def keygen_waiting(self, *more):
        process = self.start("keygen", "--param", P, "--seeds", "-", "--ek", "ek1", "--dk", "dk1", *more,
                             stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.stderr.close)
        self.wait_for(lambda: self.being_written(process))
        return process

    def test_file_that_appears_meanwhile(self):
        before = self.contents()
        process = self.keygen_waiting()
        self.write("dk1", b"somebody else's")
        process.communicate(bytes(64), timeout=60)
        self.assertEqual(process.returncode, 1)
        self.assertEqual(self.contents(), {**before, "dk1": b"somebody else's"})
        os.unlink(self.dir / "dk1")
        process = self.keygen_waiting("--force")
        self.write("dk1", b"somebody else's")
        process.communicate(bytes(64), timeout=60)
        self.assertEqual(process.returncode, 0)
        self.assertEqual(len(self.read("dk1")), DK)

    def test_no_key_without_its_other_half(self):
        for wrong in "ek1", "dk1":
            for more in [], ["--force"]:
                before = self.contents()
                process = self.keygen_waiting(*more)
                (self.dir / wrong).mkdir()
                process.communicate(bytes(64), timeout=60)
                self.assertEqual(process.returncode, 1)
                self.assertEqual(self.contents(), before)
                (self.dir / wrong).rmdir()


class Pairs(ToolTest):
    """ek and dk of one job, whoever else writes them and whatever ends it."""

    def pair(self, ek="ek", dk="dk"):
        """What is there: "none", "dk alone", "ek alone" or the pair; a pair of different origin is an error."""
        there = {name: self.read(name) if (self.dir / name).exists() else None for name in (ek, dk)}
        if there[ek] is None or there[dk] is None:
            return "dk alone" if there[dk] else "ek alone" if there[ek] else "none"
        count = len(there[ek]) // EK
        self.assertEqual((len(there[ek]), len(there[dk])), (count * EK, count * DK))
        for i in range(count):  # an expanded dk contains its ek
            start = i * DK + 384 * 3
            self.assertEqual(there[dk][start:start + EK], there[ek][i * EK:(i + 1) * EK], "an ek of one job, a dk of another")
        return there[ek], there[dk]

    def race(self, number, *more, ek="ek", dk="dk"):
        processes = [self.start("keygen", "--param", P, "--seeds", "-", "--ek", ek, "--dk", dk, *more, stdin=subprocess.PIPE,
                                stderr=subprocess.DEVNULL) for _ in range(number)]
        for process in processes:
            process.stdin.write(os.urandom(64))
            process.stdin.flush()
        for process in processes:  # all are through with the rest, and finish now
            process.stdin.close()
        return sorted(process.wait(120) for process in processes)

    def test_jobs_at_the_same_time(self):
        (self.dir / "sub").mkdir()
        number = 6
        for ek in "ek", "sub/ek":
            for old in [], [ek], [ek, "dk"]:
                for name in (ek, "dk"):
                    if (self.dir / name).exists():
                        os.unlink(self.dir / name)
                if "dk" in old:
                    self.keygen(1, ek, "dk")
                elif old:
                    self.write(ek, os.urandom(EK))
                with self.subTest(ek=ek, old=old):
                    more = ["--force"] if "dk" in old else []
                    self.assertEqual(self.race(number, *more, ek=ek), [0] * number if more else [0] + [1] * (number - 1))
                    self.assertIsInstance(self.pair(ek), tuple)
                    self.assertEqual(self.race(number, "--force", ek=ek), [0] * number)
                    self.assertIsInstance(self.pair(ek), tuple)
                    self.assertEqual([n for n in self.files() + os.listdir(self.dir / "sub") if n.startswith(".")], [])

    def scenarios(self):
        """Nameless files or not, renameat2 or not, what is there before: each with the environment and the arguments."""
        for nameless in True, False:
            for rename2 in True, False:
                for old in [], ["ek"], ["ek", "dk"]:
                    environment = dict(os.environ, LD_PRELOAD=FAULTS)
                    environment.update({} if nameless else {"WARPKEM_TEST_NO_TMPFILE": "1"})
                    environment.update({} if rename2 else {"WARPKEM_TEST_NO_RENAME2": "1"})
                    yield environment, old, ["--force"] if "dk" in old else []

    def prepare(self, old):
        for name in self.files():
            os.unlink(self.dir / name)
        if "dk" in old:
            self.keygen(1)
        elif old:
            self.write("ek", os.urandom(EK))
        return {name: self.read(name) for name in self.files()}

    def at_every_step(self, what, expect, all_ways=True):
        """Runs keygen with a fault at the first change of a name, at the second, and so on, until `expect`, which gets the
        process, what was there before, and the environment, says that there was none."""
        for environment, old, more in self.scenarios():
            if "WARPKEM_TEST_NO_RENAME2" in environment and not all_ways:
                continue
            for step in range(1, 30):
                before = self.prepare(old)
                with self.subTest(step=step, old=old, more=more, **{k: v for k, v in environment.items() if "_TEST_" in k}):
                    process = self.start("keygen", "--param", P, "--count", 1, "--ek", "ek", "--dk", "dk", *more,
                                         stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                                         env={**environment, "WARPKEM_TEST_AT": str(step), "WARPKEM_TEST_DO": what})
                    if expect(process, before, environment):
                        self.assertGreater(step, 1, "no fault was made")
                        break
            else:
                self.fail("the faults do not end")

    def no_stranger(self, before):
        """No half of a pair beside half of another one: what was there, or a whole pair, or less."""
        now = {name: self.read(name) for name in ("ek", "dk") if (self.dir / name).exists()}
        if now != before:
            self.pair()
            self.assertFalse("dk" not in now and "ek" in now and now["ek"] != before.get("ek"), "a new ek alone")

    @faults_can_be_made
    def test_killed_at_any_step(self):
        def expect(process, before, environment):
            status = process.wait(60)
            self.assertIn(status, (0, -signal.SIGKILL))
            self.no_stranger(before)
            self.assertFalse("dk" in before and not (self.dir / "dk").exists(), "a secret is lost")
            if status == 0:
                self.assertIsInstance(self.pair(), tuple)
            return status == 0
        self.at_every_step("kill", expect)

    @faults_can_be_made
    def test_any_step_fails(self):
        def expect(process, before, environment):
            status = process.wait(60)
            self.assertIn(status, (0, 1))
            if status == 0:
                self.assertIsInstance(self.pair(), tuple)
            elif "WARPKEM_TEST_NO_RENAME2" in environment:  # what was replaced cannot come back
                self.no_stranger(before)
            else:
                self.assertEqual({name: self.read(name) for name in self.files() if not name.startswith(".")}, before)
            return status == 0 and self.files() == ["dk", "ek"]
        self.at_every_step("fail", expect)

    @faults_can_be_made
    def test_another_job_comes_between_any_two_steps(self):
        def expect(process, before, environment):
            def state():
                return pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
            while (now := state()) not in "TZ":
                time.sleep(0.01)
            other = self.start("keygen", "--param", P, "--count", 1, "--ek", "ek", "--dk", "dk", "--force", env=environment)
            try:
                self.assertEqual(other.wait(0.3), 0)
            except subprocess.TimeoutExpired:
                pass  # it waits for the first one, or is slow
            process.send_signal(signal.SIGCONT)
            self.assertEqual(other.wait(60), 0)
            self.assertIn(process.wait(60), (0, 1))
            self.assertIsInstance(self.pair(), tuple)
            self.assertEqual(self.files(), ["dk", "ek"])
            return now == "Z"
        self.at_every_step("stop", expect, all_ways=False)


class NothingIsLeft(ToolTest):
    """Temporaries go with the process, whatever ends it."""

    def interrupted(self, number, environment=None):
        process = self.start("keygen", "--param", P, "--seeds", "-", "--ek", "ek", "--dk", "dk", "--batch", 1,
                             "--status", "status", stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
        process.stdin.write(os.urandom(640))
        process.stdin.flush()
        self.wait_for(lambda: sum(file.st_size > 0 for file in self.being_written(process)) == 3)
        process.send_signal(number)
        self.assertEqual(process.wait(60), -number)
        process.stdin.close()

    def signals(self):
        harmless = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, signal.SIGSTOP, signal.SIGTSTP,
                    signal.SIGTTIN, signal.SIGTTOU, signal.SIGPIPE, signal.SIGXFSZ}
        if SANITIZED:  # handles these itself
            harmless |= {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP}
        return sorted(signal.valid_signals() - harmless)

    def test_nameless(self):
        probe = None
        try:
            probe = os.open(self.dir, os.O_TMPFILE | os.O_WRONLY, 0o600)
        except OSError:
            self.skipTest("this file system has no nameless files")
        finally:
            if probe is not None:
                os.close(probe)
        for number in signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGXCPU, signal.SIGSEGV, signal.SIGRTMAX:
            if number in self.signals():
                with self.subTest(signal=number):
                    self.interrupted(number)
                    self.assertNothingWritten([])

    @faults_can_be_made
    def test_with_names(self):
        environment = dict(os.environ, LD_PRELOAD=FAULTS, WARPKEM_TEST_NO_TMPFILE="1")
        for number in self.signals():
            with self.subTest(signal=number):
                self.interrupted(number, environment)
                if number == signal.SIGKILL:
                    self.assertEqual([name[:9] for name in self.files()], [".warpkem-"] * 3, "the test is without effect")
                    for name in self.files():
                        os.unlink(self.dir / name)
                self.assertNothingWritten([])

    def test_limit_of_time(self):
        process = self.start("keygen", "--param", P, "--count", 1 << 40, "--ek", "ek", "--dk", "dk", "--batch", 64,
                             preexec_fn=lambda: (resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
                                                 resource.setrlimit(resource.RLIMIT_CPU, (1, 60))))
        self.assertEqual(process.wait(300), -signal.SIGXCPU)
        self.assertNothingWritten([])

    def test_signals_that_were_blocked_or_ignored_stay_so(self):
        for prepare in (lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]),
                        lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN)):
            process = self.start("keygen", "--param", P, "--seeds", "-", "--ek", "/dev/null", "--dk", "/dev/null", "--status",
                                 "s", stdin=subprocess.PIPE, preexec_fn=prepare)
            process.stdin.write(bytes(64))
            process.stdin.flush()
            process.send_signal(signal.SIGUSR1)
            process.stdin.close()
            self.assertEqual(process.wait(60), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
