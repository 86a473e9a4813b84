#!/usr/bin/env python3
"""Every promise of the command-line tool, tested from outside: WARPKEM_TOOL is the executable."""
import gzip
import json
import os
import pathlib
import re
import resource
import signal
import stat
import subprocess
import sys
import time
import unittest

from tool_case import C, DK, EK, INVALID_DK, INVALID_EK, LONG, P, SANITIZED, SETS, TOOL, ToolTest

KAT = pathlib.Path(os.environ.get("WARPKEM_KAT_DIR", "")) / "acvp" / "cases.jsonl.gz"


class RoundTrip(ToolTest):
    def test_every_set_format_and_batch_size(self):
        for param, (ek, dk, c) in SETS.items():
            for form, dk_bytes in ("expanded", dk), ("seed", 64):
                for batch in 1, 7, 23, 8192:
                    with self.subTest(param=param, form=form, batch=batch):
                        more = ["--batch", batch, "--force"]
                        self.keygen(23, "ek", "dk", param, "--dk-format", form, *more)
                        self.encaps(*more, param=param)
                        self.decaps("--dk-format", form, *more, param=param)
                        sizes = [len(self.read(f)) for f in ("ek", "dk", "c", "K", "K2")]
                        self.assertEqual(sizes, [23 * n for n in (ek, dk_bytes, c, 32, 32)])
                        self.assertEqual(self.read("K"), self.read("K2"))
                        self.assertEqual(len({self.read("K")[i * 32:i * 32 + 32] for i in range(23)}), 23)

    def test_result_does_not_depend_on_batch_or_threads(self):
        self.write("seeds", os.urandom(64 * 41))
        self.write("m", os.urandom(32 * 41))
        results = set()
        for more in ["--batch", 1], ["--batch", 40], ["--threads", 1], ["--threads", 3, "--batch", 16], ["--backend", "portable"]:
            self.tool("keygen", "--param", P, "--seeds", "seeds", "--ek", "ek", "--dk", "dk", "--force", *more)
            self.encaps("--m", "m", "--force", *more)
            self.decaps("--force", *more)
            self.assertEqual(self.read("K"), self.read("K2"))
            results.add(tuple(self.read(f) for f in ("ek", "dk", "c", "K")))
        self.assertEqual(len(results), 1)

    def test_nothing_in_nothing_out(self):
        self.keygen(0)
        self.encaps(rc=1)  # more likely a mistake than meant
        self.assertNothingWritten(["dk", "ek"])
        self.encaps("--allow-empty")
        self.decaps("--allow-empty")
        self.tool("check", "--param", P, "--ek", "ek", "--allow-empty")
        self.assertEqual([len(self.read(f)) for f in ("ek", "dk", "c", "K", "K2")], [0] * 5)

    def test_fresh_randomness_differs(self):
        self.keygen(3)
        self.keygen(3, "ek2", "dk2")
        self.assertNotEqual(self.read("ek"), self.read("ek2"))
        self.encaps()
        self.encaps(c="c2", K="K2")
        self.assertNotEqual(self.read("K"), self.read("K2"))

    def test_pairwise_consistency_changes_no_key(self):
        self.write("seeds", os.urandom(64 * 5))
        for param in P, "ML-KEM-1024":
            for name, more in ("plain", []), ("each", ["--pairwise", 1]), ("some", ["--pairwise", 3, "--batch", 2]):
                self.tool("keygen", "--param", param, "--seeds", "seeds", "--ek", f"ek-{name}", "--dk", f"dk-{name}", "--force", *more)
            for kind in "ek", "dk":
                self.assertEqual(len({self.read(f"{kind}-{name}") for name in ("plain", "each", "some")}), 1)
        self.tool("keygen", "--param", P, "--count", 1, "--ek", "e", "--dk", "d", "--pairwise", 0, rc=1)

    def test_param_by_alias_and_oid(self):
        self.write("seeds", os.urandom(64))
        results = set()
        for name in P, "ml-kem-768", "MLKEM768", "2.16.840.1.101.3.4.4.2":
            self.tool("keygen", "--param", name, "--seeds", "seeds", "--ek", "ek", "--dk", "dk", "--force")
            results.add(self.read("dk"))
        self.assertEqual(len(results), 1)

    def test_modified_ciphertext_is_rejected_silently(self):
        self.keygen(5)
        self.encaps()
        c = bytearray(self.read("c"))
        c[2 * C + 100] ^= 1
        self.write("c", c)
        done = self.decaps("--status", "status")
        self.assertEqual(done.stderr, "")
        self.assertEqual(self.read("status"), bytes(5))
        same = [self.read("K")[i * 32:i * 32 + 32] == self.read("K2")[i * 32:i * 32 + 32] for i in range(5)]
        self.assertEqual(same, [True, True, False, True, True])
        self.assertNotEqual(self.read("K2")[64:96], bytes(32))


@unittest.skipUnless(KAT.is_file(), f"no ACVP cases: set WARPKEM_KAT_DIR ({KAT} is not there)")
class KnownAnswers(ToolTest):
    """All ACVP cases of one set and operation in one file of raw records."""

    @classmethod
    def setUpClass(cls):
        cls.cases = {}
        with gzip.open(KAT, "rt") as file:
            for line in file:
                case = json.loads(line)
                form = "seed" if case["op"] == "decaps" and "d" in case["in"] else "expanded"
                cls.cases.setdefault((case["set"], case["op"], form), []).append(case)

    def put(self, name, cases, *fields):
        return self.write(name, b"".join(bytes.fromhex(c["in"][f]) for c in cases for f in fields))

    def expect(self, name, cases, field):
        self.assertEqual(self.read(name), b"".join(bytes.fromhex(c["out"][field]) for c in cases))

    def each(self, op, form="expanded"):
        seen = 0
        for param in SETS:
            cases = self.cases.get((param, op, form), [])
            with self.subTest(param=param, op=op, form=form, cases=len(cases)):
                self.assertGreater(len(cases), 0)
                seen += len(cases)
                yield param, cases
        self.assertGreaterEqual(seen, 30)

    def test_keygen(self):
        for param, cases in self.each("keygen"):
            self.put("seeds", cases, "d", "z")
            self.tool("keygen", "--param", param, "--seeds", "seeds", "--ek", "ek", "--dk", "dk", "--batch", 8,
                      "--force")
            self.expect("ek", cases, "ek")
            self.expect("dk", cases, "dk")

    def test_encaps(self):
        for param, cases in self.each("encaps"):
            self.put("ek", cases, "ek")
            self.put("m", cases, "m")
            self.encaps("--m", "m", "--force", param=param)
            self.expect("c", cases, "c")
            self.expect("K", cases, "K")

    def test_decaps_expanded(self):
        for param, cases in self.each("decaps"):
            self.put("dk", cases, "dk")
            self.put("c", cases, "c")
            self.decaps("--force", param=param)
            self.expect("K2", cases, "K")

    def test_decaps_seed(self):
        for param, cases in self.each("decaps", "seed"):
            self.put("dk", cases, "d", "z")
            self.put("c", cases, "c")
            self.decaps("--dk-format", "seed", "--force", param=param)
            self.expect("K2", cases, "K")

    def check(self, op, key, invalid):
        for param, cases in self.each(op):
            self.put("key", cases, key)
            verdict = bytes(invalid if case.get("reject") else 0 for case in cases)
            self.assertIn(invalid, verdict)
            self.tool("check", "--param", param, "--" + key, "key", "--status", "status", rc=2)
            self.assertEqual(self.read("status"), verdict)

    def test_ek_check(self):
        self.check("ek_check", "ek", INVALID_EK)

    def test_dk_check(self):
        self.check("dk_check", "dk", INVALID_DK)


class KeyReuse(ToolTest):
    def test_each_key_serves_consecutive_items(self):
        self.keygen(3)
        ek, dk = self.read("ek"), self.read("dk")
        for reuse in 1, 2, 5, 100:
            for batch in 1, 4, 64, 8192:
                if reuse * 3 // batch > 100:
                    continue
                with self.subTest(reuse=reuse, batch=batch):
                    self.write("m", os.urandom(32 * 3 * reuse))
                    self.encaps("--m", "m", "--key-reuse", reuse, "--batch", batch, "--force")
                    self.write("ek-all", b"".join(ek[i * EK:(i + 1) * EK] * reuse for i in range(3)))
                    self.encaps("--m", "m", "--force", ek="ek-all", c="c-all", K="K-all")
                    self.assertEqual(self.read("c"), self.read("c-all"))
                    self.assertEqual(self.read("K"), self.read("K-all"))
                    self.decaps("--key-reuse", reuse, "--batch", batch, "--force")
                    self.assertEqual(self.read("K2"), self.read("K"))

    def test_seed_keys_and_pipes(self):
        self.keygen(2, "ek", "dk", P, "--dk-format", "seed")
        done = self.encaps("--key-reuse", 9, ek="-", c="-", stdin=self.read("ek"))
        done = self.decaps("--key-reuse", 9, "--dk-format", "seed", "--batch", 4, c="-", K="-", stdin=done.stdout)
        self.assertEqual(done.stdout, self.read("K"))

    def test_bad_key_fails_all_its_items(self):
        self.keygen(3)
        ek = bytearray(self.read("ek"))
        ek[EK:EK + 3] = b"\xff" * 3
        self.write("ek", ek)
        self.encaps("--key-reuse", 4, "--batch", 3, "--status", "status", rc=2)
        self.assertEqual(self.read("status"), bytes([0] * 4 + [INVALID_EK] * 4 + [0] * 4))
        self.assertEqual(self.read("c")[4 * C:8 * C], bytes(4 * C))

    def test_counts_that_do_not_fit(self):
        self.keygen(2)
        self.encaps("--key-reuse", 3)
        c = self.read("c")
        for records in 5, 7, 0:
            self.write("c-wrong", (c * 2)[:records * C])
            before = self.files()
            done = self.decaps("--key-reuse", 3, c="c-wrong", rc=1)
            self.assertIn(str(min(records, 6) * C), done.stderr)
            self.assertIn(str(C), done.stderr)
            self.assertNothingWritten(before)


class Pipes(ToolTest):
    def test_standard_streams(self):
        self.write("seeds", os.urandom(64 * 50))
        self.tool("keygen", "--param", P, "--seeds", "seeds", "--ek", "ek", "--dk", "dk")
        for name in "-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1":
            done = self.tool("keygen", "--param", P, "--seeds", "-", "--ek", name, "--dk", "dk2", "--batch", 8,
                             "--force", stdin=self.read("seeds"))
            self.assertEqual(done.stdout, self.read("ek"))
            self.assertEqual(self.read("dk2"), self.read("dk"))
        for name in "-", "/dev/stdin", "/dev/fd/0":
            self.encaps("--force", ek=name, c="c1", stdin=self.read("ek"))
            self.assertEqual(len(self.read("c1")), 50 * C)

    def test_dribbling_input(self):
        self.keygen(3)
        process = self.start("encaps", "--param", P, "--ek", "-", "--ciphertext", "c", "--shared-secret", "K",
                             stdin=subprocess.PIPE)
        data = self.read("ek")
        for i in range(0, len(data), 997):
            process.stdin.write(data[i:i + 997])
            process.stdin.flush()
            time.sleep(0.01)
        process.stdin.close()
        self.assertEqual(process.wait(60), 0)
        self.decaps()
        self.assertEqual(self.read("K"), self.read("K2"))

    def test_truncated_pipe(self):
        self.keygen(3)
        done = self.encaps(ek="-", stdin=self.read("ek")[:-1], rc=1)
        self.assertIn(str(2 * EK), done.stderr)
        self.assertIn(str(EK), done.stderr)
        self.assertNothingWritten(["dk", "ek"])

    def test_pipe_with_too_few_or_too_many_records(self):
        self.keygen(4)
        m = os.urandom(32 * 5)
        for count, offset in (3, 96), (5, 128), (0, 0):
            done = self.encaps("--m", "-", stdin=m[:32 * count], rc=1)
            self.assertRegex(done.stderr, rf"\b{offset}\b")
            self.assertRegex(done.stderr, r"\b32\b")
            self.assertNothingWritten(["dk", "ek"])

    def test_reader_that_goes_away(self):
        process = self.start("keygen", "--param", P, "--count", 10**9, "--ek", "-", "--dk", "/dev/null", "--batch", 64,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(len(process.stdout.read(EK)), EK)
        process.stdout.close()
        text = process.stderr.read().decode()
        process.stderr.close()
        self.assertEqual(process.wait(60), 1)
        self.assertIn("Broken pipe", text)

    def test_named_pipe_is_written_in_place(self):
        os.mkfifo(self.dir / "pipe")
        process = self.start("keygen", "--param", P, "--count", 20, "--ek", "ek", "--dk", "pipe")
        dk = self.read("pipe")
        self.assertEqual(process.wait(60), 0)
        self.assertTrue(stat.S_ISFIFO(os.stat(self.dir / "pipe").st_mode))
        self.write("dk", dk)
        self.encaps()
        self.decaps()
        self.assertEqual(self.read("K"), self.read("K2"))

    def test_inherited_descriptor(self):
        read, write = os.pipe()
        process = self.start("keygen", "--param", P, "--count", 2, "--ek", f"/dev/fd/{write}", "--dk", "dk", pass_fds=[write])
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            self.assertEqual(len(pipe.read()), 2 * EK)
        self.assertEqual(process.wait(60), 0)

    def test_redirected_stdout_is_appended_to_and_never_replaced(self):
        with open(self.dir / "all", "wb") as file:
            file.write(b"before")
        inode = os.stat(self.dir / "all").st_ino
        with open(self.dir / "all", "ab") as file:
            self.tool("keygen", "--param", P, "--count", 2, "--ek", "/dev/stdout", "--dk", "dk", stdout=file)
        self.assertEqual(self.read("all")[:6], b"before")
        self.assertEqual(len(self.read("all")), 6 + 2 * EK)
        self.assertEqual(os.stat(self.dir / "all").st_ino, inode)

    def test_redirected_stdin_is_read_from_its_position(self):
        self.keygen(3)
        with open(self.dir / "ek", "rb") as file:
            file.seek(EK)
            self.encaps(ek="/dev/stdin", stdin=file)
        self.assertEqual(len(self.read("c")), 2 * C)

    def test_devices_are_written_in_place(self):
        null = os.stat("/dev/null")
        self.keygen(2, "/dev/null", "/dev/null")
        after = os.stat("/dev/null")
        self.assertEqual((null.st_ino, null.st_mode), (after.st_ino, after.st_mode))
        self.assertNothingWritten([])

    def test_closed_standard_streams(self):
        def close():
            os.close(0)
            os.close(1)

        done = subprocess.run([TOOL, "keygen", "--param", P, "--count", "2", "--ek", "ek", "--dk", "dk"], cwd=self.dir,
                              preexec_fn=close, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((len(self.read("ek")), len(self.read("dk"))), (2 * EK, 2 * DK))
        done = subprocess.run([TOOL, "keygen", "--param", P, "--count", "2", "--ek", "-", "--dk", "dk3"], cwd=self.dir,
                              preexec_fn=close, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 1)
        self.assertNothingWritten(["dk", "ek"])

    def test_full_stdout_is_an_error(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full here")
        with open("/dev/full", "wb") as full:
            done = self.tool("keygen", "--param", P, "--count", 2, "--ek", "-", "--dk", "dk", stdout=full, rc=1)
            self.assertIn("No space", done.stderr)
            self.assertNothingWritten([])
            self.tool("info", stdout=full, rc=1)


class BadItems(ToolTest):
    def spoil(self, count, bad):
        self.keygen(count)
        ek = bytearray(self.read("ek"))
        for i in bad:
            ek[i * EK:i * EK + 2] = b"\x01\x0d"  # 3329 = q
        self.write("ek", ek)

    def test_bad_ek_fails_alone(self):
        bad = [0, 7, 19]
        self.spoil(20, bad)
        done = self.encaps("--status", "status", "--batch", 6, rc=2)
        self.assertEqual(re.findall(r"item (\d+): WARPKEM_INVALID_EK", done.stderr), ["0", "7", "19"])
        self.assertIn("3 of 20", done.stderr)
        self.assertEqual(self.read("status"), bytes(INVALID_EK if i in bad else 0 for i in range(20)))
        self.decaps()
        for i in range(20):
            K, K2 = (self.read(f)[i * 32:i * 32 + 32] for f in ("K", "K2"))
            if i in bad:
                self.assertEqual(K, bytes(32))
                self.assertEqual(self.read("c")[i * C:(i + 1) * C], bytes(C))
            else:
                self.assertEqual(K, K2)

    def test_first_ten_are_listed(self):
        bad = list(range(3, 60, 2))
        self.spoil(60, bad)
        for batch in 1, 16, 8192:
            done = self.encaps("--batch", batch, "--force", rc=2)
            self.assertEqual([int(i) for i in re.findall(r"item (\d+):", done.stderr)], bad[:10])
            self.assertIn(f"{len(bad)} of 60", done.stderr)

    def test_bad_dk_fails_alone(self):
        self.keygen(5)
        self.encaps()
        dk = bytearray(self.read("dk"))
        dk[3 * DK + DK - 40] ^= 1  # in H(ek)
        self.write("dk", dk)
        self.decaps("--status", "status", rc=2)
        self.assertEqual(self.read("status"), bytes([0, 0, 0, INVALID_DK, 0]))
        self.assertEqual(self.read("K2")[96:128], bytes(32))
        self.assertEqual(self.read("K2")[:96], self.read("K")[:96])
        self.tool("check", "--param", P, "--dk", "dk", rc=2)

    def test_check_writes_nothing_but_statuses(self):
        self.spoil(4, [1])
        done = self.tool("check", "--param", P, "--ek", "ek", "--status", "-", rc=2)
        self.assertEqual(done.stdout, bytes([0, INVALID_EK, 0, 0]))
        done = self.tool("check", "--param", P, "--dk", "dk")
        self.assertEqual((done.stdout, done.stderr), (b"", ""))
        self.assertNothingWritten(["dk", "ek"])


class FileLengths(ToolTest):
    def setUp(self):
        super().setUp()
        self.keygen(5)
        self.encaps()
        self.write("m", os.urandom(32 * 5))
        self.write("old", b"old")

    def refused(self, offset, record, command, **files):
        before = {f: self.read(f) for f in self.files()}
        arguments = [x for name, file in files.items() for x in ("--" + name.replace("_", "-"), file)]
        done = self.tool(command, "--param", P, *arguments, rc=1)
        self.assertRegex(done.stderr, rf"\b{offset}\b")
        self.assertRegex(done.stderr, rf"\b{record}\b")
        self.assertEqual({f: self.read(f) for f in self.files()}, before)
        return done.stderr

    def test_part_of_a_record(self):
        for extra in -1, 1, EK - 1, 1 - EK:
            data = self.read("ek")
            self.write("bad", data[:extra] if extra < 0 else data + bytes(extra))
            offset = (len(self.read("bad")) // EK) * EK
            text = self.refused(offset, EK, "encaps", ek="bad", ciphertext="new", shared_secret="old")
            self.assertIn("--ek bad", text)
            self.refused(offset, EK, "check", ek="bad")
        self.write("bad", self.read("dk")[:-7])
        self.refused(4 * DK, DK, "decaps", dk="bad", ciphertext="c", shared_secret="old")
        self.write("bad", bytes(65))
        self.refused(64, 64, "keygen", seeds="bad", ek="new", dk="old")

    def test_other_number_of_records(self):
        self.write("few", self.read("m")[:96])
        self.write("many", self.read("m") + bytes(32))
        self.refused(96, 32, "encaps", ek="ek", m="few", ciphertext="new", shared_secret="old")
        self.refused(160, 32, "encaps", ek="ek", m="many", ciphertext="new", shared_secret="old")
        self.write("few", self.read("c")[:C])
        self.refused(C, C, "decaps", dk="dk", ciphertext="few", shared_secret="old")

    def test_file_of_another_set(self):
        done = self.tool("decaps", "--param", "ML-KEM-1024", "--dk", "dk", "--ciphertext", "c", "--shared-secret", "old", rc=1)
        self.assertIn("3168", done.stderr)
        self.assertEqual(self.read("old"), b"old")


class WholeOrNothing(ToolTest):
    def names(self):
        return {name: os.lstat(self.dir / name).st_ino for name in self.files()}

    def mode(self, name):
        return stat.S_IMODE(os.stat(self.dir / name).st_mode)

    def test_secrets_have_mode_0600_whatever_was_there(self):
        old = os.umask(0o022)
        self.addCleanup(os.umask, old)
        for name in "dk", "K", "K2":
            self.write(name, b"before")
            os.chmod(self.dir / name, 0o666)
        self.keygen(2, "ek", "dk", P, "--force")
        self.encaps("--status", "status", "--force")
        self.decaps("--force")
        self.assertEqual([self.mode(f) for f in ("dk", "K", "K2")], [0o600] * 3)
        self.assertEqual([self.mode(f) for f in ("ek", "c", "status")], [0o644] * 3)
        os.umask(0o077)
        self.keygen(2, "ek3", "dk3")
        self.assertEqual(self.mode("ek3"), 0o600)
        os.umask(0)
        self.keygen(2, "ek4", "dk4")
        self.assertEqual((self.mode("ek4"), self.mode("dk4")), (0o666, 0o600))

    def test_secrets_are_never_readable_by_others_while_written(self):
        process = self.start("keygen", "--param", P, "--seeds", "-", "--ek", "ek", "--dk", "dk", "--batch", 1,
                             stdin=subprocess.PIPE)
        self.addCleanup(process.wait)
        self.addCleanup(process.stdin.close)
        process.stdin.write(bytes(64))
        process.stdin.flush()
        self.wait_for(lambda: len(self.being_written(process)) == 2)
        self.assertEqual([stat.S_IMODE(file.st_mode) for file in self.being_written(process)], [0o600] * 2)
        self.assertEqual([self.mode(f) for f in self.files()], [0o600] * len(self.files()))

    def test_signals_leave_nothing_and_keep_what_was_there(self):
        for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT:
            with self.subTest(signal=number.name):
                self.write("dk", b"precious")
                before = self.names()
                process = self.start("keygen", "--param", P, "--seeds", "-", "--ek", "ek", "--dk", "dk", "--batch", 1,
                                     "--force", stdin=subprocess.PIPE,
                                     preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
                process.stdin.write(os.urandom(640))
                process.stdin.flush()
                self.wait_for(lambda: len(self.being_written(process)) == 2)
                process.send_signal(number)
                self.assertEqual(process.wait(60), -number)
                process.stdin.close()
                self.assertEqual(self.names(), before)
                self.assertEqual(self.read("dk"), b"precious")

    def test_shell_sees_the_conventional_status(self):
        script = f"'{TOOL}' keygen --param {P} --count 1000000000 --ek ek --dk dk & sleep 0.3; kill -TERM $!; wait $!"
        self.assertEqual(subprocess.run(["bash", "-c", script], cwd=self.dir, stderr=subprocess.DEVNULL).returncode, 143)
        self.assertNothingWritten([])

    def test_busy_job_is_interrupted(self):
        process = self.start("keygen", "--param", P, "--count", 10**9, "--ek", "ek", "--dk", "dk")
        self.wait_for(lambda: len(self.being_written(process)) == 2)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), -signal.SIGINT)
        self.assertNothingWritten([])

    def test_ignored_signals_stay_ignored(self):
        process = self.start("keygen", "--param", P, "--seeds", "-", "--ek", "ek", "--dk", "dk", stdin=subprocess.PIPE,
                             preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        self.wait_for(lambda: len(self.being_written(process)) == 2)
        process.send_signal(signal.SIGHUP)
        process.communicate(bytes(64), timeout=60)
        self.assertEqual(process.returncode, 0)

    def test_size_limit_leaves_nothing(self):
        self.write("ek", b"old")
        done = self.tool("keygen", "--param", P, "--count", 2000, "--ek", "ek", "--dk", "dk", rc=1,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6)))
        self.assertIn("File too large", done.stderr)
        self.assertNothingWritten(["ek"])
        self.assertEqual(self.read("ek"), b"old")

    def test_full_disk_leaves_nothing(self):
        disk = self.dir / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], stderr=subprocess.DEVNULL)
        if mounted.returncode != 0:
            self.skipTest("a small file system cannot be mounted here (needs root)")
        self.addCleanup(subprocess.run, ["umount", disk])
        (disk / "ek").write_bytes(b"old")
        done = self.tool("keygen", "--param", P, "--count", 2000, "--ek", disk / "ek", "--dk", disk / "dk", rc=1)
        self.assertIn("No space left", done.stderr)
        self.assertEqual(os.listdir(disk), ["ek"])
        self.assertEqual((disk / "ek").read_bytes(), b"old")

    def test_links_are_followed_and_kept(self):
        (self.dir / "real").mkdir()
        os.symlink("real/target", self.dir / "link")        # to a file that does not exist yet
        os.symlink(self.dir / "link", self.dir / "link2")
        self.keygen(2, "link2", "dk")
        self.assertTrue(os.path.islink(self.dir / "link") and os.path.islink(self.dir / "link2"))
        self.assertEqual(len(self.read("real/target")), 2 * EK)
        self.keygen(3, "link", "dk", P, "--force")
        self.assertEqual(len(self.read("real/target")), 3 * EK)
        self.assertEqual(os.listdir(self.dir / "real"), ["target"])
        os.symlink("loop", self.dir / "loop")
        self.tool("keygen", "--param", P, "--count", 1, "--ek", "loop", "--dk", "dk", "--force", rc=1)

    def test_link_to_a_device_is_kept(self):
        os.symlink("/dev/null", self.dir / "null")
        self.keygen(2, "null", "dk")
        self.assertTrue(os.path.islink(self.dir / "null"))
        self.assertTrue(stat.S_ISCHR(os.stat("/dev/null").st_mode))

    def test_other_hard_link_keeps_its_content(self):
        self.write("old", b"old")
        os.link(self.dir / "old", self.dir / "ek")
        self.keygen(2)
        self.assertEqual(self.read("old"), b"old")
        self.assertEqual(len(self.read("ek")), 2 * EK)

    def test_two_outputs_to_one_file(self):
        self.write("x", b"old")
        os.link(self.dir / "x", self.dir / "hard")
        os.symlink("x", self.dir / "soft")
        os.symlink("new", self.dir / "dangling")
        (self.dir / "sub").mkdir()
        before = self.names()
        for ek, dk in (("x", "x"), ("x", "./x"), ("x", self.dir / "x"), ("x", "hard"), ("soft", "x"), ("new", "new"),
                       ("new", "sub/../new"), ("dangling", "new"), ("-", "-"), ("-", "/dev/stdout")):
            with self.subTest(ek=ek, dk=dk):
                self.tool("keygen", "--param", P, "--count", 2, "--ek", ek, "--dk", dk, rc=1)
                self.tool("keygen", "--param", P, "--count", 2, "--ek", ek, "--dk", "/dev/null", "--status", dk, rc=1)
                self.assertEqual(self.names(), before)
                self.assertEqual(self.read("x"), b"old")

    def test_output_that_is_an_input(self):
        self.keygen(2)
        os.symlink("ek", self.dir / "soft")
        os.link(self.dir / "ek", self.dir / "hard")
        before, ek = self.names(), self.read("ek")
        for name in "ek", "./ek", "soft", "hard":
            self.encaps(c=name, rc=1)
            self.encaps(K=name, rc=1)
            self.encaps("--status", name, rc=1)
            with open(self.dir / "ek", "rb") as file:
                self.encaps(ek="-", c=name, stdin=file, rc=1)
        with open(self.dir / "ek", "ab") as file:
            self.encaps(c="-", stdout=file, rc=1)
        self.assertEqual((self.names(), self.read("ek")), (before, ek))

    def test_inputs_may_be_one_file(self):
        self.write("same", os.urandom(32 * 37))  # 37 * 32 = 1184: one ek, 37 messages
        self.encaps("--m", "same", "--key-reuse", 37, ek="same", rc=2)

    def test_stdin_only_once(self):
        self.encaps("--m", "-", ek="-", rc=1)
        self.encaps("--m", "/dev/stdin", ek="-", rc=1)
        self.assertNothingWritten([])

    def test_folders_and_missing_files(self):
        self.keygen(1)
        (self.dir / "folder").mkdir()
        before = self.files()
        for wrong in "folder", "folder/", "nowhere/x", "ek/x":
            done = self.encaps(c=wrong, rc=1)
            self.assertIn("--ciphertext", done.stderr)
        for wrong in "folder", "missing", "nowhere/x":
            done = self.encaps(ek=wrong, rc=1)
            self.assertIn("--ek", done.stderr)
        self.assertNothingWritten(before)

    def test_no_permission(self):
        as_nobody = {}
        if os.geteuid() == 0:  # who may write everywhere
            as_nobody = {"user": 65534, "group": 65534, "extra_groups": []}
            os.chmod(self.dir, 0o777)
        try:
            subprocess.run([TOOL, "--version"], stdout=subprocess.DEVNULL, check=True, **as_nobody)
        except (PermissionError, subprocess.CalledProcessError):
            self.skipTest("an unprivileged user cannot run the tool where it lies")
        self.write("ek", b"old")
        os.chmod(self.dir / "ek", 0o444)
        done = self.tool("keygen", "--param", P, "--count", 1, "--ek", "ek", "--dk", "dk", rc=1, **as_nobody)
        self.assertIn("Permission denied", done.stderr)
        self.assertEqual(self.read("ek"), b"old")
        os.chmod(self.dir, 0o555)
        done = self.tool("keygen", "--param", P, "--count", 1, "--ek", "new", "--dk", "dk", rc=1, **as_nobody)
        self.assertIn("Permission denied", done.stderr)
        os.chmod(self.dir, 0o755)
        self.assertNothingWritten(["ek"])


class Arguments(ToolTest):
    def test_what_is_wrong_and_what_is_accepted(self):
        good = ["--ek", "a", "--dk", "b"]
        for arguments, words in (
                (["keygen", "--param", "ML-KEM-42", "--count", 1, *good], ["--param", "ML-KEM-42", "ML-KEM-512", "ML-KEM-1024"]),
                (["keygen", "--param", P, "--count", "x", *good], ["--count", "'x'", "0"]),
                (["keygen", "--param", P, "--count", "-1", *good], ["--count", "-1"]),
                (["keygen", "--param", P, "--count", "1e3", *good], ["--count", "1e3"]),
                (["keygen", "--param", P, "--count", "0x10", *good], ["--count", "0x10"]),
                (["keygen", "--param", P, "--count", "", *good], ["--count"]),
                (["keygen", "--param", P, "--count", "99999999999999999999", *good], ["--count"]),
                (["keygen", "--param", P, "--count", 1, "--batch", 0, *good], ["--batch", "1"]),
                (["keygen", "--param", P, "--count", 1, "--threads", 0, *good], ["--threads", "1"]),
                (["keygen", "--param", P, "--count", 1, "--backend", "abacus", *good], ["--backend", "abacus", "portable"]),
                (["keygen", "--param", P, "--count", 1, "--backend", "", *good], ["--backend"]),
                (["keygen", "--param", P, "--count", 1, "--dk-format", "pem", *good], ["--dk-format", "pem", "expanded", "seed"]),
                (["keygen", "--param", P, *good], ["--count", "--seeds"]),
                (["keygen", "--param", P, "--count", 1, "--seeds", "s", *good], ["--count", "--seeds"]),
                (["keygen", "--count", 1, *good], ["--param"]),
                (["keygen", "--param", P, "--count", 1, "--ek", "a"], ["--dk"]),
                (["keygen", "--param", P, "--count", 1, "--ek", "", "--dk", "b"], ["--ek"]),
                (["keygen", "--param", P, "--count", 1, *good, "--frobnicate"], ["--frobnicate"]),
                (["keygen", "--param", P, "--count", 1, *good, "stray"], ["stray"]),
                (["encaps", "--param", P, "--ek", "a", "--ciphertext", "c", "--shared-secret", "K", "--m", ""], ["--m"]),
                (["encaps", "--param", P, "--ek", "a", "--ciphertext", "c", "--shared-secret", "K", "--key-reuse", 0], ["--key-reuse"]),
                (["check", "--param", P], ["--ek", "--dk"]),
                (["check", "--param", P, "--ek", "a", "--dk", "b"], ["--ek", "--dk"]),
                (["bench", "--op", "sign"], ["--op", "sign", "keygen", "encaps", "decaps"]),
                (["bench", "--seconds", "soon"], ["--seconds", "soon"]),
                (["bench", "--seconds", "-1"], ["--seconds"]),
                (["bench", "--op", "keygen", "--prepared"], ["--prepared", "encaps"]),
                (["selftest", "--backend", "abacus"], ["abacus", "portable"]),
                (["frobnicate"], ["frobnicate", "keygen", "decaps"]),
                ([], ["keygen", "--help"])):
            with self.subTest(arguments=arguments):
                done = self.tool(*arguments, rc=1)
                self.assertEqual(done.stdout, b"")
                for word in words:
                    self.assertIn(word, done.stderr + ("keygen" if not arguments else ""))
                self.assertNothingWritten([])

    def test_help_and_version(self):
        for command in [], ["keygen"], ["encaps"], ["decaps"], ["check"], ["info"], ["selftest"], ["bench"]:
            done = self.tool(*command, "--help")
            self.assertIn(b"Usage: warpkem", done.stdout)
            self.assertEqual(done.stderr, "")
        self.assertRegex(self.tool("--version").stdout, rb"\Awarpkem \d+\.\d+\.\d+\n\Z")

    def test_backend_of_the_environment(self):
        environment = dict(os.environ, WARPKEM_BACKEND="abacus")
        done = self.tool("keygen", "--param", P, "--count", 1, "--ek", "a", "--dk", "b", env=environment, rc=1)
        self.assertIn("abacus", done.stderr)
        self.tool("keygen", "--param", P, "--count", 1, "--ek", "a", "--dk", "b", "--backend", "portable", env=environment)
        done = self.tool("keygen", "--param", P, "--count", 1, "--ek", "a", "--dk", "b", "--json", "--force",
                         env=dict(os.environ, WARPKEM_BACKEND="portable"))
        self.assertEqual(json.loads(done.stdout)["items_by_backend"], {"portable": 1})


class Reports(ToolTest):
    def test_json_summary(self):
        done = self.keygen(30, "ek", "dk", P, "--json", "--backend", "portable")
        summary = json.loads(done.stdout)
        self.assertEqual((summary["operation"], summary["param"], summary["items"], summary["failed"]), ("keygen", P, 30, 0))
        self.assertEqual(summary["items_by_backend"], {"portable": 30})
        self.assertGreater(summary["items_per_second"], 0)
        ek = bytearray(self.read("ek"))
        ek[4 * EK:4 * EK + 2] = b"\xff\xff"
        self.write("ek", ek)
        done = self.tool("check", "--param", P, "--ek", "ek", "--json", rc=2)
        summary = json.loads(done.stdout)
        self.assertEqual(summary["failed"], 1)
        self.assertEqual(summary["first_failures"], [{"item": 4, "status": INVALID_EK, "name": "WARPKEM_INVALID_EK"}])

    def test_items_are_counted_for_the_preferred_backend(self):
        backends = json.loads(self.tool("info", "--json").stdout)["backends"]
        (preferred,) = [b["name"] for b in backends if b["preferred"]]
        self.assertEqual(preferred, os.environ.get("WARPKEM_BACKEND", preferred))
        for count in 1, 30:
            done = self.keygen(count, "ek", "dk", P, "--json", "--backend", preferred, "--force")
            self.assertEqual(json.loads(done.stdout)["items_by_backend"], {preferred: count})

    def test_json_and_data_do_not_mix(self):
        for name in "-", "/dev/stdout":
            done = self.tool("keygen", "--param", P, "--count", 1, "--ek", name, "--dk", "dk", "--json", rc=1)
            self.assertEqual(done.stdout, b"")
            self.assertIn("--json", done.stderr)
        with open(self.dir / "file", "wb") as file:
            self.tool("keygen", "--param", P, "--count", 1, "--ek", "file", "--dk", "dk", "--json", stdout=file, rc=1)
        self.assertEqual(self.read("file"), b"")

    def test_info(self):
        report = json.loads(self.tool("info", "--json").stdout)
        self.assertRegex(report["version"], r"^\d+\.\d+\.\d+$")
        sizes = {a["name"]: (a["sizes"]["ek"], a["sizes"]["dk"], a["sizes"]["c"]) for a in report["algorithms"]}
        self.assertEqual({k: sizes[k] for k in SETS}, SETS)
        self.assertEqual([a["oid"] for a in report["algorithms"]][:3], [f"2.16.840.1.101.3.4.4.{i}" for i in (1, 2, 3)])
        backends = {b["name"]: b for b in report["backends"]}
        self.assertTrue(backends["portable"]["available"])
        self.assertEqual(sum(b["preferred"] for b in backends.values()), 1)
        for backend in backends.values():
            self.assertTrue(backend["detail"] or backend["available"], "an absent backend says why")
            self.assertEqual(backend.get("selftest", "passed"), "passed")
        text = self.tool("info").stdout.decode()
        for word in ("ML-KEM-768", "2.16.840.1.101.3.4.4.2", "2400", "portable", report["version"]):
            self.assertIn(word, text)

    def test_bill_of_materials(self):
        report = json.loads(self.tool("info", "--json").stdout)
        done = self.tool("info", "--cbom")
        self.assertEqual(done.stdout, self.tool("info", "--cbom").stdout)
        bill = json.loads(done.stdout)
        self.assertEqual((bill["bomFormat"], bill["specVersion"]), ("CycloneDX", "1.6"))
        self.assertEqual(bill["metadata"]["component"]["version"], report["version"])
        parts = {part["bom-ref"]: part for part in bill["components"]}
        self.assertEqual(len(parts), len(bill["components"]))
        # Everything that refers, refers to something; each algorithm is somebody's.
        provided = []
        for one in bill["dependencies"]:
            self.assertIn(one["ref"], {*parts, "warpkem"})
            self.assertLessEqual({*one["dependsOn"], *one.get("provides", [])}, set(parts))
            provided += one.get("provides", [])
        self.assertEqual(sorted(provided), sorted(name for name in parts if name != "libcrypto"))
        for algorithm in report["algorithms"]:
            if "libcrypto" not in parts and re.search("-P|P256|P384|256r1|384r1", algorithm["name"]):
                continue
            crypto = parts["algorithm:" + algorithm["name"]]["cryptoProperties"]
            self.assertEqual(crypto.get("oid"), algorithm["oid"])
            self.assertEqual(crypto["algorithmProperties"]["primitive"], "kem")
            level = {"512": 1, "768": 3, "1024": 5}[re.search(r"KEM-?(\d+)", algorithm["name"])[1]]
            self.assertEqual(crypto["algorithmProperties"]["nistQuantumSecurityLevel"], level)
        for backend in report["backends"]:
            self.assertIn("warpkem:backend:" + backend["name"],
                          {one["name"] for one in bill["metadata"]["component"]["properties"]})

    def test_selftest(self):
        self.assertIn(b"portable: passed", self.tool("selftest").stdout)
        self.assertEqual(self.tool("selftest", "--backend", "portable").stdout, b"portable: passed\n")

    def test_bench_json(self):
        done = self.tool("bench", "--op", "encaps", "--param", P, "--backend", "portable", "--batch", 5, "--threads", 1,
                         "--seconds", 0.05, "--json")
        report = json.loads(done.stdout)
        self.assertGreater(report["benchmarks"][0]["items_per_cpu_second"], 0)
        for field in "date", "num_cpus", "cpu", "library_version", "features":
            self.assertIn(field, report["context"])
        (line,) = report["benchmarks"]
        self.assertEqual(line["name"], f"encaps/{P}/portable/batch:5/threads:1")
        expected = {"op": "encaps", "param": P, "backend": "portable", "batch": 5, "threads": 1, "prepared": False,
                    "run_type": "iteration", "time_unit": "ns"}
        self.assertEqual({k: line[k] for k in expected}, expected)
        self.assertTrue(0 < line["min"] <= line["items_per_second"] <= line["max"])
        self.assertGreaterEqual(line["rounds"], 3)
        self.assertGreaterEqual(line["keys"], 64)
        self.assertAlmostEqual(line["real_time"] * line["items_per_second"] / 5e9, 1, places=6)

    def test_bench_choices(self):
        of_one = ["--param", P] if SANITIZED else []
        done = self.tool("bench", "--backend", "portable", "--batch", 2, "--threads", 2, "--seconds", 0.01, "--json", *of_one)
        names = [line["name"] for line in json.loads(done.stdout)["benchmarks"]]
        self.assertEqual(len(names), 3 if SANITIZED else 27)  # three operations of nine algorithms
        self.assertIn(f"decaps/{P}/portable/batch:2/threads:2", names)
        for keys in 1, 3:
            done = self.tool("bench", "--backend", "portable", "--param", P, "--prepared", "--keys", keys, "--batch", 4,
                             "--seconds", 0.01, "--threads", 1, "--json")
            lines = json.loads(done.stdout)["benchmarks"]
            self.assertEqual([(line["name"], line["keys"]) for line in lines],
                             [(f"{op}/{P}/portable/batch:4/threads:1/prepared", keys) for op in ("encaps", "decaps")])
        table = self.tool("bench", "--op", "keygen", "--param", "512", "--backend", "portable", "--batch", 1, "--seconds",
                          0.01).stdout
        self.assertIn(b"keygen/ML-KEM-512/portable/batch:1/", table)

    def test_progress_on_a_terminal_only(self):
        count = 3000 if SANITIZED else 30000
        self.assertEqual(self.keygen(count, "ek", "/dev/null", P, "--batch", 100).stderr, "")
        seen, _ = self.on_terminal("encaps", "--param", P, "--ek", "ek", "--ciphertext", "c", "--shared-secret", "K",
                                   "--batch", 100, stream="stderr")
        seen = seen.decode()
        self.assertRegex(seen, rf"\[[#.]+\] +\d+ %  \d+/{count}  [\d.]+ ?[kM]?/s  ETA \d+:\d\d")
        self.assertRegex(seen, rf"{count} items in [\d.]+ s")
        self.assertNotIn("\x1b", self.encaps("--force").stderr)


class Memory(ToolTest):
    def peak(self, *arguments):
        """Peak resident memory in KiB, from a parent of its own."""
        script = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
                  "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
        done = subprocess.run([sys.executable, "-c", script, TOOL, *map(str, arguments)], cwd=self.dir, check=True,
                              stdout=subprocess.PIPE)
        return int(done.stdout.split()[-1])

    @unittest.skipIf(SANITIZED, "a sanitizer's memory is not the tool's")
    def test_does_not_grow_with_the_stream(self):
        count = 10_000_000 if LONG else 100_000
        for param in [P] if LONG else SETS:
            peak = self.peak("keygen", "--param", param, "--count", count, "--ek", "/dev/null", "--dk", "/dev/null")
            self.assertLess(peak, 200 * 1024)
            self.write("seeds", bytes(64 * 1000))
            self.tool("keygen", "--param", param, "--seeds", "seeds", "--ek", "ek", "--dk", "dk", "--force")
            self.encaps("--force", param=param)
            reuse = count // 1000
            self.assertLess(self.peak("encaps", "--param", param, "--ek", "ek", "--ciphertext", "/dev/null",
                                      "--shared-secret", "/dev/null", "--key-reuse", reuse), 200 * 1024)


if __name__ == "__main__":
    unittest.main(verbosity=2)
