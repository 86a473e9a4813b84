#!/usr/bin/env python3
"""Kinds of files are told apart: what is given in place of what is wanted. WARPKEM_TOOL is the executable."""
import base64
import bz2
import gzip
import hashlib
import json
import lzma
import os
import pathlib
import random
import subprocess
import tempfile
import unittest

from tool_case import INVALID_DK, INVALID_EK, SETS, TOOL, ToolTest

OIDS = {name: bytes.fromhex(f"06096086480165030404{i:02x}") for i, name in enumerate(SETS, 1)}


def der(tag, *contents):
    content = b"".join(contents)
    n = len(content)
    length = bytes([n]) if n < 128 else bytes([0x81, n]) if n < 256 else bytes([0x82, n >> 8, n & 255])
    return bytes([tag]) + length + content


def spki(param, ek):
    return der(0x30, der(0x30, OIDS[param]), der(0x03, b"\0", ek))


def pkcs8(param, *key):
    return der(0x30, b"\x02\x01\x00", der(0x30, OIDS[param]), der(0x04, *key))


def pem(label, data):
    text = base64.encodebytes(data).decode().replace("\n", "")
    lines = [text[i:i + 64] for i in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


class KindsTest(ToolTest):
    @classmethod
    def setUpClass(cls):
        """Records of every kind and set, a hundred each."""
        cls.records = {}
        with tempfile.TemporaryDirectory(prefix="warpkem-test-") as folder:
            def run(*arguments):
                subprocess.run([TOOL, *map(str, arguments)], cwd=folder, check=True)

            def read(name):
                return (pathlib.Path(folder) / name).read_bytes()

            for param in SETS:
                (pathlib.Path(folder) / "seeds").write_bytes(os.urandom(64 * 100))
                run("keygen", "--param", param, "--seeds", "seeds", "--ek", "ek", "--dk", f"dk-{param}")
                run("encaps", "--param", param, "--ek", "ek", "--ciphertext", "c", "--shared-secret", f"K-{param}")
                cls.records[param] = {"ek": read("ek"), "dk": read(f"dk-{param}"), "seed": read("seeds"), "c": read("c"),
                                      "K": read(f"K-{param}"), "m": os.urandom(32 * 100)}

    def some(self, param, kind, count):
        data = self.records[param][kind]
        return data[:len(data) // 100 * count]

    def command(self, param, wanted, path, count=1, form="expanded"):
        """A command that reads `path` as records of one kind, and has all else that it needs, for so many items."""
        good = {kind: self.write(f"good-{kind}", self.some(param, kind, count)) for kind in ("ek", "dk", "seed", "c")}
        more = ["--dk-format", "seed"] if wanted == "seed-dk" else []
        dk = good["seed" if wanted == "seed-dk" else "dk"]
        return {"seed": ["keygen", "--param", param, "--seeds", path, "--ek", "/dev/null", "--dk", "/dev/null"],
                "ek": ["encaps", "--param", param, "--ek", path, "--ciphertext", "/dev/null", "--shared-secret", "/dev/null"],
                "m": ["encaps", "--param", param, "--ek", good["ek"], "--m", path, "--ciphertext", "/dev/null",
                      "--shared-secret", "/dev/null"],
                "dk": ["decaps", "--param", param, "--dk", path, "--ciphertext", good["c"], "--shared-secret", "/dev/null"],
                "seed-dk": ["decaps", "--param", param, "--dk", path, "--ciphertext", good["c"], "--shared-secret",
                            "/dev/null"],
                "c": ["decaps", "--param", param, "--dk", dk, "--ciphertext", path, "--shared-secret", "/dev/null"],
                "check-ek": ["check", "--param", param, "--ek", path],
                "check-dk": ["check", "--param", param, "--dk", path]}[wanted] + more

    OPTION = {"seed": "--seeds", "ek": "--ek", "m": "--m", "dk": "--dk", "seed-dk": "--dk", "c": "--ciphertext",
              "check-ek": "--ek", "check-dk": "--dk"}

    def record_bytes(self, param, wanted):
        ek, dk, c = SETS[param]
        return {"seed": 64, "seed-dk": 64, "m": 32, "ek": ek, "check-ek": ek, "dk": dk, "check-dk": dk, "c": c}[wanted]

    def refused(self, param, wanted, data, *words, pipes=True, small=True):
        """From a file and, where that tells it too, through a pipe: in large batches and in small ones."""
        self.write("given", data)
        ways = [("given", [])] + [("-", [])] * pipes + [("-", ["--batch", 1])] * (pipes and small)
        for path, more in ways:
            # As many as there seem to be: that a pipe holds others shows later than that it is something else.
            count = min(max(len(data) // self.record_bytes(param, wanted), 1), 100)
            command = self.command(param, wanted, path, count)
            with self.subTest(param=param, wanted=wanted, path=path, more=more):
                done = self.tool(*command, *more, rc=1, stdin=data)
                line = done.stderr.splitlines()[0]
                self.assertIn(f"{self.OPTION[wanted]} {path}: ", line)
                for word in words:
                    self.assertIn(word, line)


class Proven(KindsTest):
    """The length fits, the content does not."""

    def fitting(self, param, wanted, other, kind):
        """The fewest records of another kind that are as long as some of what is wanted; None if that takes too many."""
        record = self.record_bytes(param, wanted)
        return next((n for n in range(1, 101) if len(self.some(other, kind, n)) % record == 0), None)

    def test_every_kind_that_shows_what_it_is(self):
        seen = 0
        for param in SETS:
            for wanted in self.OPTION:
                for other in SETS:
                    for kind in "ek", "dk":
                        if other == param and wanted in (kind, f"check-{kind}"):
                            continue
                        count = self.fitting(param, wanted, other, kind)
                        if count is None:
                            continue
                        data = self.some(other, kind, count)
                        path = self.write("given", data)
                        done = self.tool(*self.command(param, wanted, path, 1), rc=1)
                        with self.subTest(param=param, wanted=wanted, other=other, kind=kind):
                            name = f"expanded dk of {other}" if kind == "dk" else f"ek of {other}"
                            self.assertIn(f"{self.OPTION[wanted]} given: is {name} (", done.stderr)
                            self.assertIn("--force", done.stderr)
                            seen += 1
        self.assertGreater(seen, 60)

    def test_seeds_are_not_made_of_public_bytes(self):
        for other in SETS:
            self.refused("ML-KEM-768", "seed", self.some(other, "dk", 2), f"expanded dk of {other}", "seeds", pipes=False)
            self.refused("ML-KEM-768", "seed", self.some(other, "ek", 2), f"ek of {other}", "seeds", pipes=False)
        # Through a pipe: as soon as a batch has the first record whole.
        for more in [], ["--batch", 50]:
            done = self.tool(*self.command("ML-KEM-768", "seed", "-"), *more, rc=1, stdin=self.some("ML-KEM-1024", "dk", 2))
            self.assertIn("--seeds -: is expanded dk of ML-KEM-1024", done.stderr)
        self.assertEqual(sorted(os.listdir(self.dir)), ["given", "good-c", "good-dk", "good-ek", "good-seed"])

    def test_force_takes_what_fits(self):
        dk = self.some("ML-KEM-768", "dk", 2)
        self.write("given", dk)
        command = ["keygen", "--param", "768", "--seeds", "given", "--ek", "ek", "--dk", "/dev/null"]
        self.tool(*command, rc=1)
        self.assertFalse((self.dir / "ek").exists())
        self.tool(*command, "--force")
        self.assertEqual((self.dir / "ek").stat().st_size, 75 * 1184)
        self.write("given", self.some("ML-KEM-1024", "ek", 1))
        self.write("dk", self.some("ML-KEM-1024", "dk", 1))
        command = ["decaps", "--param", "1024", "--dk", "dk", "--ciphertext", "given", "--shared-secret", "/dev/null"]
        self.assertIn("ek of ML-KEM-1024", self.tool(*command, rc=1).stderr)
        self.tool(*command, "--force")

    def test_right_files_are_never_taken_for_others(self):
        for param in SETS:
            for wanted, kind in (("seed", "seed"), ("ek", "ek"), ("m", "m"), ("dk", "dk"), ("seed-dk", "seed"), ("c", "c"),
                                 ("check-ek", "ek"), ("check-dk", "dk")):
                for count in 1, 25, 100:
                    if wanted == "seed-dk" and count > 1:
                        continue
                    data = self.some(param, kind, count)
                    for path in self.write("given", data), "-":
                        with self.subTest(param=param, wanted=wanted, count=count, path=path):
                            self.tool(*self.command(param, wanted, path, count), stdin=data)

    def test_bad_items_stay_items(self):
        """A first record that fails its check is no proof of another kind."""
        rng = random.Random(1)
        for param, (ek_bytes, dk_bytes, _) in SETS.items():
            for _ in range(4):
                ek = bytearray(self.some(param, "ek", 7))
                at = rng.randrange((ek_bytes - 32) // 3) * 3
                ek[at:at + 2] = b"\xff\xff"
                for path in self.write("given", ek), "-":
                    for more in [], ["--batch", 1]:
                        self.tool("check", "--param", param, "--ek", path, "--status", "status", *more, rc=2, stdin=ek)
                        self.assertEqual((self.dir / "status").read_bytes(), bytes([INVALID_EK] + [0] * 6))
                dk = bytearray(self.some(param, "dk", 7))
                dk[rng.randrange(dk_bytes - ek_bytes - 64, dk_bytes - 32)] ^= 1 << rng.randrange(8)
                self.write("given", dk)
                self.tool("check", "--param", param, "--dk", "given", "--status", "status", rc=2)
                self.assertEqual((self.dir / "status").read_bytes(), bytes([INVALID_DK] + [0] * 6))

    def test_what_tests_put_in_place_of_random_bytes(self):
        for record in (bytes(64), b"\xff" * 64, bytes(range(64)), b"\x5a" * 64, b"\x30\x82" + bytes(62), b"0" * 64, b"\xa5\x5a" * 32,
                       (1234567).to_bytes(64, "little"), hashlib.sha512(b"seed").digest()):
            for count in 1, 75, 74:
                self.write("given", record * count)
                for more in [], ["--batch", 1]:
                    self.tool("keygen", "--param", "512", "--seeds", "given", "--ek", "/dev/null", "--dk", "/dev/null", *more)
        counters = b"".join(i.to_bytes(64, "big") for i in range(75))
        self.tool("keygen", "--param", "768", "--seeds", "-", "--ek", "/dev/null", "--dk", "/dev/null", stdin=counters)


class Encodings(KindsTest):
    """What shows to be something else. Keys in PEM and DER that are of the kind and set that is wanted are taken."""

    def is_wanted(self, wanted, is_public):
        return wanted in (("ek", "check-ek") if is_public else ("dk", "seed-dk", "check-dk"))

    def padded(self, data, record):
        return data + b"\n" * (-len(data) % record)

    def test_pem(self):
        for param in SETS:
            key = pem("PRIVATE KEY", pkcs8(param, b"\x80\x40", self.some(param, "seed", 1)))
            public = pem("PUBLIC KEY", spki(param, self.some(param, "ek", 1)))
            for wanted in self.OPTION:
                for data, label in (key, "PRIVATE KEY"), (public, "PUBLIC KEY"), (pem("EC PRIVATE KEY", os.urandom(90)),
                                                                                 "EC PRIVATE KEY"):
                    if label != "EC PRIVATE KEY" and self.is_wanted(wanted, label == "PUBLIC KEY"):
                        continue
                    pipes = param == "ML-KEM-768" and label == "PRIVATE KEY"
                    self.refused(param, wanted, data, "PEM", label, pipes=False)
                    if not pipes:
                        continue
                    described = b"Bag Attributes\n    localKeyID: 54\nKey Attributes: <No Attributes>\n" + data
                    if len(described) % self.record_bytes(param, wanted) != 0:
                        self.refused(param, wanted, described, "PEM", label, pipes=False)
                    self.refused(param, wanted, self.padded(data, self.record_bytes(param, wanted)), "PEM", label, pipes=pipes)

    def test_der(self):
        for param in SETS:
            seed, dk, ek = (self.some(param, kind, 1) for kind in ("seed", "dk", "ek"))
            for data, words in ((spki(param, ek), ["SubjectPublicKeyInfo", param]),
                                (pkcs8(param, b"\x80\x40", seed), ["PrivateKeyInfo", param]),
                                (pkcs8(param, der(0x04, dk)), ["PrivateKeyInfo", param]),
                                (pkcs8(param, der(0x30, der(0x04, seed), der(0x04, dk))), ["PrivateKeyInfo", param])):
                for wanted in self.OPTION:
                    if self.is_wanted(wanted, words[0] == "SubjectPublicKeyInfo") and (wanted != "seed-dk" or seed in data):
                        continue
                    pipes = param == "ML-KEM-768" and len(data) < 2000
                    self.refused(param, wanted, data, "DER", *words, pipes=False)
                    self.refused(param, wanted, self.padded(data, self.record_bytes(param, wanted)), "DER", *words, pipes=pipes)
        p256 = der(0x30, der(0x30, bytes.fromhex("06072a8648ce3d020106082a8648ce3d030107")), der(0x03, b"\0\4", os.urandom(64)))
        self.refused("ML-KEM-768", "ek", p256, "DER", "SubjectPublicKeyInfo")
        # Of any structure, short ones too, where the length fits nothing.
        for content in 90, 127, 128, 200, 255, 256, 3000:
            for wanted in "ek", "dk", "c":
                self.refused("ML-KEM-768", wanted, der(0x30, os.urandom(content)), "DER", pipes=False)
        # A structure of another kind, as long as records are.
        for wanted in "seed", "m", "ek", "c":
            record = self.record_bytes("ML-KEM-768", wanted)
            n = -(-600 // record) * record
            self.refused("ML-KEM-768", wanted, der(0x30, os.urandom(n - 4)), "DER", pipes=False)

    def test_text(self):
        seed = os.urandom(64)
        for data in seed.hex().encode(), seed.hex().upper().encode(), (os.urandom(63).hex() + "\n\n").encode():
            self.refused("ML-KEM-512", "seed", data, "hexadecimal text", "--force")
            self.refused("ML-KEM-512", "seed-dk", data, "hexadecimal text")
        self.refused("ML-KEM-512", "m", os.urandom(32).hex().encode(), "hexadecimal text")
        self.refused("ML-KEM-512", "ek", (self.some("ML-KEM-512", "ek", 1).hex() + "\n").encode(), "hexadecimal text")
        self.refused("ML-KEM-512", "ek", b'{"kty":"AKP","alg":"ML-KEM-512"}\n', "text")


    def test_compressed(self):
        for param in ("ML-KEM-512",):
            for name, data in (("gzip", gzip.compress(self.some(param, "ek", 2))), ("bzip2", bz2.compress(self.some(param, "ek", 2))),
                               ("xz", lzma.compress(self.some(param, "ek", 2)))):
                for wanted in self.OPTION:
                    self.refused(param, wanted, data, f"{name}-compressed", pipes=False)
                    self.refused(param, wanted, self.padded(data, self.record_bytes(param, wanted)), f"{name}-compressed")

    def test_marks_of_text(self):
        """What some programs put before text, and before anything else."""
        mark = b"\xef\xbb\xbf"
        for param in ("ML-KEM-768",):
            key = spki(param, self.some(param, "ek", 1))
            self.refused(param, "seed", mark + pem("PUBLIC KEY", key), "byte order mark", pipes=False)
            for wanted in self.OPTION:
                self.refused(param, wanted, mark + self.some(param, "m", 7), "byte order mark", pipes=False)
                self.refused(param, wanted, mark + key, "byte order mark", pipes=False)
                self.refused(param, wanted, pem("PUBLIC KEY", key).decode().encode("utf-16"), "UTF-16", pipes=False)


class Lengths(KindsTest):
    """A length that does not fit says what it would fit."""

    def test_another_set_or_kind(self):
        for param, other in ("ML-KEM-768", "ML-KEM-512"), ("ML-KEM-1024", "ML-KEM-768"), ("ML-KEM-512", "ML-KEM-1024"):
            # A first record alone may be too short for more than that it is not what is wanted.
            self.refused(param, "ek", self.some(other, "ek", 7), f"ek of {other}", small=False)
            self.refused(param, "dk", self.some(other, "dk", 7), f"expanded dk of {other}", small=False)
            self.refused(param, "c", self.some(other, "c", 7), f"7 ciphertexts of {other}", pipes=False)
            self.refused(param, "ek", self.some(param, "dk", 1), f"expanded dk of {param}", small=False)
            self.refused(param, "dk", self.some(param, "ek", 1), f"ek of {param}")
            self.refused(param, "dk", self.some(param, "seed", 3), "3 seeds")
            self.refused(param, "seed-dk", self.some(param, "dk", 1), f"expanded dk of {param}", small=False)
            self.refused(param, "seed", self.some(param, "K", 3), "3 shared secrets")

    def test_empty_inputs(self):
        for param in "ML-KEM-512", "ML-KEM-1024":
            for wanted in self.OPTION:
                self.refused(param, wanted, b"", "empty", "--allow-empty")
        for kind in "ek", "dk", "c", "seed":
            self.write(kind, b"")
        for command in (["keygen", "--seeds", "seed", "--ek", "e", "--dk", "d"],
                        ["encaps", "--ek", "ek", "--ciphertext", "x", "--shared-secret", "K"],
                        ["decaps", "--dk", "dk", "--ciphertext", "c", "--shared-secret", "K"],
                        ["check", "--ek", "ek"], ["check", "--dk", "dk"], ["check", "--ek", "ek", "--dk", "dk"]):
            self.tool(*command, "--param", "768", rc=1)
            self.tool(*command, "--param", "768", "--allow-empty", "--json")
            self.tool(*[("-" if word in ("ek", "dk", "seed") and i == command.index(word) and "check" not in command else word)
                        for i, word in enumerate(command)], "--param", "768", "--allow-empty")
        # To be asked for no keys is no mistake.
        self.tool("keygen", "--count", 0, "--param", "768", "--ek", "none", "--dk", "no-dk")
        self.assertEqual((self.dir / "none").read_bytes(), b"")


class Terminals(KindsTest):
    def test_records_do_not_go_to_one(self):
        self.write("ek", self.some("ML-KEM-768", "ek", 2))
        self.write("dk", self.some("ML-KEM-768", "dk", 2))
        self.write("c", self.some("ML-KEM-768", "c", 2))
        before = sorted(os.listdir(self.dir))
        for name in "-", "/dev/stdout", "/dev/fd/1":
            for arguments, option in (
                    (["keygen", "--count", 1, "--ek", name, "--dk", "new"], "--ek"),
                    (["keygen", "--count", 1, "--ek", "new", "--dk", name], "--dk"),
                    (["encaps", "--ek", "ek", "--ciphertext", name, "--shared-secret", "new"], "--ciphertext"),
                    (["encaps", "--ek", "ek", "--ciphertext", "new", "--shared-secret", name], "--shared-secret"),
                    (["decaps", "--dk", "dk", "--ciphertext", "c", "--shared-secret", name], "--shared-secret"),
                    (["check", "--ek", "ek", "--status", name], "--status")):
                with self.subTest(arguments):
                    seen, text = self.on_terminal(*arguments, "--param", "768", rc=1)
                    self.assertEqual(seen, b"")
                    self.assertIn(f"{option} {name}: ", text)
                    self.assertIn("terminal", text)
                    self.assertEqual(sorted(os.listdir(self.dir)), before)
        seen, _ = self.on_terminal("check", "--ek", "ek", "--status", "-", "--param", "768", "--force", rc=0)
        self.assertEqual(seen, bytes(2))

    def test_text_does(self):
        self.write("ek", self.some("ML-KEM-768", "ek", 2))
        seen, _ = self.on_terminal("check", "--ek", "ek", "--json", "--param", "768", rc=0)
        self.assertEqual(json.loads(seen)["items"], 2)


class Pairs(KindsTest):
    def check(self, param, verdict, *more, ek="ek", dk="dk", **options):
        wrong = any(verdict)
        done = self.tool("check", "--param", param, "--ek", ek, "--dk", dk, "--status", "status", *more, rc=2 if wrong else 0,
                         **options)
        self.assertEqual((self.dir / "status").read_bytes(), bytes(verdict))
        if not wrong:
            self.assertEqual(done.stderr, "")
        return done

    def test_ek_and_dk(self):
        for param, (ek_bytes, dk_bytes, _) in SETS.items():
            for form in "expanded", "seed":
                kind, record = ("dk", dk_bytes) if form == "expanded" else ("seed", 64)
                ek, dk = self.some(param, "ek", 6), self.some(param, kind, 6)
                self.write("ek", ek), self.write("dk", dk)
                more = ["--dk-format", form] if form == "seed" else []
                for batch in 1, 4, 8192:
                    self.check(param, [0] * 6, *more, "--batch", batch)
                swapped = dk[:record] + dk[2 * record:3 * record] + dk[record:2 * record] + dk[3 * record:]
                self.write("dk", swapped)
                for batch in 1, 4, 8192:
                    done = self.check(param, [0, 4, 4, 0, 0, 0], *more, "--batch", batch)
                    self.assertIn("item 1: WARPKEM_INVALID_DK", done.stderr)
                    self.assertIn("does not belong", done.stderr)
                    self.assertIn("2 of 6", done.stderr)
                report = json.loads(self.check(param, [0, 4, 4, 0, 0, 0], *more, "--json").stdout)
                self.assertEqual((report["operation"], report["items"], report["failed"]), ("check", 6, 2))
                self.assertEqual([(f["item"], f["status"], f["name"]) for f in report["first_failures"]],
                                 [(1, 4, "WARPKEM_INVALID_DK"), (2, 4, "WARPKEM_INVALID_DK")])
                self.assertIn("reason", report["first_failures"][0])
                self.check(param, [0, 4, 4, 0, 0, 0], *more, ek="-", stdin=ek)
                # One bit of rho, which no check of ek alone can find.
                other = bytearray(ek)
                other[5 * ek_bytes + ek_bytes - 1] ^= 0x80
                self.write("ek", other), self.write("dk", dk)
                self.check(param, [0] * 5 + [4], *more)

    def test_each_check_comes_first(self):
        param, (ek_bytes, dk_bytes, _) = "ML-KEM-768", SETS["ML-KEM-768"]
        ek, dk = bytearray(self.some(param, "ek", 4)), bytearray(self.some(param, "dk", 4))
        ek[ek_bytes:ek_bytes + 2] = b"\xff\xff"
        dk[2 * dk_bytes + dk_bytes - 40] ^= 1
        self.write("ek", ek), self.write("dk", dk)
        done = self.check(param, [0, INVALID_EK, INVALID_DK, 0])
        self.assertNotIn("does not belong", done.stderr)
        report = json.loads(self.check(param, [0, INVALID_EK, INVALID_DK, 0], "--json").stdout)
        self.assertEqual(report["first_failures"], [{"item": 1, "status": 3, "name": "WARPKEM_INVALID_EK"},
                                                    {"item": 2, "status": 4, "name": "WARPKEM_INVALID_DK"}])

    def test_counts_must_fit(self):
        param = "ML-KEM-512"
        self.write("ek", self.some(param, "ek", 4))
        for kind, more in ("dk", []), ("seed", ["--dk-format", "seed"]):
            for count in 3, 5:
                self.write("dk", self.some(param, kind, count))
                for ek in "ek", "-":
                    done = self.tool("check", "--param", param, "--ek", ek, "--dk", "dk", *more, rc=1,
                                     stdin=self.some(param, "ek", 4))
                    self.assertIn("--dk dk", done.stderr)

    def test_seeds_alone(self):
        for param in SETS:
            self.write("dk", self.some(param, "seed", 9))
            for batch in 2, 100:
                self.tool("check", "--param", param, "--dk", "dk", "--dk-format", "seed", "--status", "status", "--batch", batch)
                self.assertEqual((self.dir / "status").read_bytes(), bytes(9))
            self.write("dk", self.some(param, "seed", 9)[:-1])
            self.tool("check", "--param", param, "--dk", "dk", "--dk-format", "seed", rc=1)
        self.tool("check", "--param", "768", "--dk", "dk", "--dk-format", "raw", rc=1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
