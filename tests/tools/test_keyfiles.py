#!/usr/bin/env python3
"""Keys in PEM and DER: import and export, there and back, and every way to be malformed. WARPKEM_TOOL is the executable."""
import base64
import fcntl
import gzip
import hashlib
import json
import os
import pty
import shutil
import subprocess
import termios
import time
import unittest

from test_kinds import OIDS, der, pem, pkcs8, spki
from tool_case import INVALID_DK, INVALID_EK, SETS, TOOL, ToolTest

UNSUPPORTED, INVALID_ENCODING, MISMATCH = 5, 18, 19
P = "ML-KEM-768"
EK = SETS[P][0]
COMPOSITES = {"MLKEM768-X25519": 58, "MLKEM768-P256": 59, "MLKEM1024-P384": 63}
BAD_EK = b"\xff" * EK


def certificate(info, usage=None):
    """An X.509 certificate that nobody signed."""
    name, when, signer = der(0x30), der(0x17, b"260101000000Z"), der(0x30, der(0x06, b"\x2b\x65\x70"))
    more = [der(0xa3, der(0x30, der(0x30, der(0x06, b"\x55\x1d\x0f"), der(0x04, der(0x03, usage)))))] if usage else []
    body = der(0x30, der(0xa0, b"\x02\x01\x02"), b"\x02\x01\x09", signer, name, der(0x30, when, when), name, info, *more)
    return der(0x30, body, signer, der(0x03, b"\0" + b"\x01" * 64))


def integer(value):
    return der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def pbes2(plain, key, key_function):
    """PBES2 (RFC 8018) by AES-256-CBC of OpenSSL's program."""
    iv = hashlib.sha256(key + b"iv").digest()[:16]
    text = subprocess.run(["openssl", "enc", "-aes-256-cbc", "-K", key.hex(), "-iv", iv.hex()], input=plain, check=True,
                          stdout=subprocess.PIPE).stdout
    cipher = der(0x30, der(0x06, bytes.fromhex("60864801650304012a")), der(0x04, iv))
    return der(0x30, der(0x30, der(0x06, bytes.fromhex("2a864886f70d01050d")), der(0x30, key_function, cipher)), der(0x04, text))


def encrypted(plain, passphrase, iterations=2048, claimed=None):
    """By PBKDF2 with HMAC-SHA-256. The same each time: with a wrong passphrase one in 256 texts seems to be decrypted."""
    salt = hashlib.sha256(plain + passphrase).digest()[:16]
    return pbes2(plain, hashlib.pbkdf2_hmac("sha256", passphrase, salt, iterations, 32),
                 der(0x30, der(0x06, bytes.fromhex("2a864886f70d01050c")),
                     der(0x30, der(0x04, salt), integer(claimed or iterations),
                         der(0x30, der(0x06, bytes.fromhex("2a864886f70d0209")), b"\x05\0"))))


def encrypted_by_scrypt(plain, passphrase, claimed=(1024, 8, 2)):
    salt = os.urandom(16)
    return pbes2(plain, hashlib.scrypt(passphrase, salt=salt, n=1024, r=8, p=2, dklen=32),
                 der(0x30, der(0x06, bytes.fromhex("2b06010401da47040b")), der(0x30, der(0x04, salt), *map(integer, claimed))))


class KeyFiles(ToolTest):
    COUNT = 300

    def keys(self, param, count=None, form="seed"):
        """The records of a fresh ek and dk."""
        self.keygen(count or self.COUNT, "made-ek", "made-dk", param, "--dk-format", form, "--force")
        return self.read("made-ek"), self.read("made-dk")

    def records(self, data, count):
        size = len(data) // count
        return [data[i * size:(i + 1) * size] for i in range(count)]

    def imported(self, data, *more, rc=0, out="--ek"):
        """What an input gives: records, statuses, lines about failures."""
        self.write("in", data)
        done = self.tool("import", "--in", "in", out, "out", "--status", "status", "--failures", "failures", "--force", *more,
                         rc=rc)
        if rc == 1:
            return done
        return self.read("out"), list(self.read("status")), self.read("failures").decode().splitlines()


class ThereAndBack(KeyFiles):
    def both_ways(self, param, option, records, objects, label, *more, back=()):
        """Exported, they are these objects; imported again they are the records."""
        self.write("records", records)
        for form, expected in ("der", b"".join(objects)), ("pem", b"".join(pem(label, one) for one in objects)):
            with self.subTest(param=param, option=option, form=form, more=more):
                self.tool("export", "--param", param, option, "records", "--out", "file", "--format", form, "--force", *more)
                self.assertTrue(self.read("file") == expected)
                got, statuses, failures = self.imported(expected, *back, out=option)
                self.assertTrue(got == records)
                self.assertEqual((set(statuses), failures), ({0}, []))

    def test_every_set_and_form(self):
        for param in SETS:
            ek, seeds = self.keys(param)
            self.tool("keygen", "--param", param, "--seeds", "made-dk", "--ek", "made-ek", "--dk", "expanded", "--force")
            dk = self.read("expanded")
            eks, seed, full = (self.records(data, self.COUNT) for data in (ek, seeds, dk))
            self.both_ways(param, "--ek", ek, [spki(param, one) for one in eks], "PUBLIC KEY")
            as_seed = [pkcs8(param, der(0x80, one)) for one in seed]
            as_full = [pkcs8(param, der(0x04, one)) for one in full]
            as_both = [pkcs8(param, der(0x30, der(0x04, s), der(0x04, f))) for s, f in zip(seed, full)]
            for objects, form in (as_seed, "seed"), (as_both, "both"):
                self.both_ways(param, "--dk", seeds, objects, "PRIVATE KEY", "--dk-format", "seed", "--private-form", form,
                               back=["--dk-format", "seed"])
                self.assertTrue(self.imported(b"".join(objects), out="--dk")[0] == dk, "seeds and both are expanded")
            self.tool("export", "--param", param, "--dk", "records", "--dk-format", "seed", "--private-form", "expanded", "--out",
                      "file", "--format", "der", "--force")
            self.assertTrue(self.read("file") == b"".join(as_full), "seeds become expanded keys")
            self.both_ways(param, "--dk", dk, as_full, "PRIVATE KEY")
            self.both_ways(param, "--dk", dk, as_full, "PRIVATE KEY", "--private-form", "expanded")

    def test_composites_and_x_wing(self):
        for param, last in COMPOSITES.items():
            oid = der(0x06, bytes.fromhex("2b060105050706") + bytes([last]))
            ek, dk = self.keys(param, form="composite")
            eks, dks = self.records(ek, self.COUNT), self.records(dk, self.COUNT)
            self.both_ways(param, "--ek", ek, [der(0x30, der(0x30, oid), der(0x03, b"\0", one)) for one in eks], "PUBLIC KEY")
            self.both_ways(param, "--dk", dk, [der(0x30, b"\x02\x01\0", der(0x30, oid), der(0x04, one)) for one in dks],
                           "PRIVATE KEY", "--dk-format", "composite")
        ek, dk = self.keys("X-Wing")
        oid = der(0x30, der(0x06, bytes.fromhex("2b0601040183e62d81c87a")))
        self.both_ways("X-Wing", "--ek", ek, [der(0x30, oid, der(0x03, b"\0", one)) for one in self.records(ek, self.COUNT)],
                       "PUBLIC KEY", "--x-wing-oid")
        self.both_ways("X-Wing", "--dk", dk, [der(0x30, b"\x02\x01\0", oid, der(0x04, one))
                                              for one in self.records(dk, self.COUNT)], "PRIVATE KEY")

    @unittest.skipUnless(os.path.exists(os.path.join(os.environ.get("WARPKEM_KAT_DIR", ""), "hybrid/cases.jsonl")),
                         "no published vectors")
    def test_published_composite_keys(self):
        """draft-ietf-lamps-pq-composite-kem's own PKCS#8."""
        seen = 0
        with open(os.path.join(os.environ["WARPKEM_KAT_DIR"], "hybrid/cases.jsonl"), encoding="utf-8") as lines:
            for line in lines:
                case = json.loads(line)
                if "dk_pkcs8" not in case["in"]:
                    continue
                seen += 1
                got, _, _ = self.imported(bytes.fromhex(case["in"]["dk_pkcs8"]), "--param", case["set"], out="--dk")
                self.assertEqual(got.hex(), case["in"]["dk"])
        self.assertGreater(seen, 0)

    def test_certificates(self):
        for param in SETS:
            ek, _ = self.keys(param, 3)
            objects = [certificate(spki(param, one), usage) for one, usage in zip(self.records(ek, 3), (None, b"\x05\x20", None))]
            self.assertEqual(self.imported(b"".join(objects))[0], ek)
            self.assertEqual(self.imported(b"".join(pem("CERTIFICATE", one) for one in objects))[0], ek)

    def test_what_there_is_no_form_of(self):
        ek, _ = self.keys(P, 1)
        for words, more in (("has no seed", ["--dk", "made-dk", "--private-form", "seed"]),
                            ("has no seed", ["--dk", "made-dk", "--private-form", "both", "--dk-format", "expanded"]),
                            ("private keys", ["--ek", "made-ek", "--private-form", "seed"]),
                            ("no encoding", ["--ek", "made-ek", "--x-wing-oid"])):
            done = self.tool("export", "--param", P, "--out", "x", "--format", "der", *more, rc=1)
            self.assertIn(words, done.stderr)
        done = self.tool("export", "--param", "4588", "--ek", "made-ek", "--out", "x", "--format", "der", rc=1)
        self.assertIn("X25519MLKEM768 has no encoding", done.stderr)
        done = self.tool("export", "--param", "MLKEM768-P256", "--dk", "made-dk", "--out", "x", "--format", "der", rc=1)
        self.assertIn("--dk-format composite", done.stderr)
        self.assertNotIn("x", self.files())
        self.assertEqual(self.imported(pem("PRIVATE KEY", pkcs8(P, der(0x04, self.keys(P, 1, "expanded")[1]))), "--dk-format",
                                       "seed", rc=2, out="--dk")[1], [UNSUPPORTED])

    def test_bad_records_are_not_written(self):
        ek, _ = self.keys(P, 4)
        _, dk = self.keys(P, 4, "expanded")
        self.write("ek", ek[:EK] + BAD_EK + ek[2 * EK:])
        done = self.tool("export", "--param", P, "--ek", "ek", "--out", "file", "--format", "der", "--status", "status", rc=2)
        self.assertIn("object 1 at byte offset 1184: WARPKEM_INVALID_EK", done.stderr)
        self.assertIn("1 of 4 records failed", done.stderr)
        self.assertEqual(list(self.read("status")), [0, INVALID_EK, 0, 0])
        self.assertEqual(len(self.read("file")), 3 * 1206)
        dk = bytearray(dk)
        dk[2 * 2400 + 2330] ^= 1  # H(ek)
        dk[3 * 2400 + 5] ^= 1     # s
        self.write("dk", dk)
        done = self.tool("export", "--param", P, "--dk", "dk", "--out", "keys", "--format", "pem", "--status", "status", "--json",
                         rc=2)
        self.assertEqual(list(self.read("status")), [0, 0, INVALID_DK, MISMATCH])
        self.assertEqual(self.read("keys").count(b"BEGIN PRIVATE KEY"), 2)
        self.assertEqual((self.dir / "keys").stat().st_mode & 0o777, 0o600)
        report = json.loads(done.stdout)
        self.assertEqual((report["items"], report["failed"], report["form"]), (4, 2, "expanded"))


class Malformed(KeyFiles):
    def setUp(self):
        super().setUp()
        ek, dk = self.keys(P, 3)
        self.eks, self.seeds = self.records(ek, 3), self.records(dk, 3)
        self.good = [spki(P, one) for one in self.eks]
        self.tool("keygen", "--param", P, "--seeds", "made-dk", "--ek", "made-ek", "--dk", "full", "--force")
        self.full = self.records(self.read("full"), 3)

    def fails_alone(self, bad, status, words, out="--ek", objects=None, label="PUBLIC KEY"):
        """Between good ones, in PEM and, if its header is good, in DER."""
        first, last = (self.good[0], self.good[1]) if out == "--ek" else (pkcs8(P, der(0x80, self.seeds[0])),
                                                                         pkcs8(P, der(0x80, self.seeds[1])))
        kept = self.eks[:2] if out == "--ek" else self.seeds[:2]
        good_label = "PUBLIC KEY" if out == "--ek" else "PRIVATE KEY"
        before = pem(good_label, first)
        ways = [(before + pem(label, bad) + pem(good_label, last), len(before))]
        if objects is not False:
            ways.append((first + bad + last, len(first)))
        for data, offset in ways:
            with self.subTest(words=words, pem=data is ways[0][0]):
                got, statuses, failures = self.imported(data, *(["--dk-format", "seed"] if out == "--dk" else []), rc=2, out=out)
                self.assertTrue(got == b"".join(kept))
                self.assertEqual(statuses, [0, status, 0])
                self.assertEqual(len(failures), 1)
                self.assertTrue(failures[0].startswith(f"object 1 at byte offset {offset}: "), failures)
                self.assertIn(words, failures[0])

    def test_public_keys(self):
        good, bits, algorithm = self.good[2], der(0x03, b"\0", self.eks[2]), der(0x30, OIDS[P])
        cases = [
            (der(0x30, der(0x30, OIDS[P], b"\x05\0"), bits), INVALID_ENCODING, "the algorithm has parameters"),
            (der(0x30, algorithm, der(0x03, b"\0", self.eks[2][:-1])), INVALID_ENCODING, "ek has 1183 bytes, not 1184"),
            (der(0x30, algorithm, der(0x03, b"\0", self.eks[2], b"\0")), INVALID_ENCODING, "ek has 1185 bytes"),
            (der(0x30, algorithm, der(0x03, b"\x03", self.eks[2])), INVALID_ENCODING, "not of whole bytes"),
            (der(0x30, algorithm, bits, b"\x05\0"), INVALID_ENCODING, "2 bytes after the end of the public key"),
            (der(0x30, b"\x30\x80" + OIDS[P] + b"\0\0", bits), INVALID_ENCODING, "indefinite length"),
            (der(0x30, b"\x30\x81\x0b" + OIDS[P], bits), INVALID_ENCODING, "shortest way"),
            (der(0x30, der(0x30, OIDS["ML-KEM-512"]), bits), INVALID_ENCODING, "not 800 as in ML-KEM-512"),
            (der(0x30, der(0x30, der(0x06, bytes.fromhex("2a864886f70d010101")), b"\x05\0"), bits), UNSUPPORTED,
             "1.2.840.113549.1.1.1"),
            (der(0x30, algorithm, der(0x03, b"\0", BAD_EK)), INVALID_EK, "not below q"),
        ]
        for bad, status, words in cases:
            self.fails_alone(bad, status, words)
        self.fails_alone(spki("ML-KEM-512", self.keys("ML-KEM-512", 1)[0]), UNSUPPORTED, "a key of ML-KEM-512, where those of ML-K")
        self.fails_alone(pkcs8(P, der(0x80, self.seeds[2])), UNSUPPORTED, "a private key, where public", label="PRIVATE KEY")
        self.fails_alone(certificate(good, b"\x07\x80"), INVALID_ENCODING, "keyUsage", label="CERTIFICATE")
        for bad, words in ((good + b"\0", "1 byte after the end of the object"), (good[:-1], "goes beyond the end"),
                           (b"\x30\x80" + good[4:] + b"\0\0", "indefinite"),
                           (good + good, "1206 bytes after"), (b"\x30\x84\x7f\xff\xff\xff" + good[4:], "goes beyond the end")):
            self.fails_alone(bad, INVALID_ENCODING, words, objects=False)

    def test_private_keys(self):
        seed, full = der(0x80, self.seeds[2]), der(0x04, self.full[2])
        hash_is_wrong = bytearray(self.full[2])
        hash_is_wrong[2330] ^= 1
        s_is_wrong = bytearray(self.full[2])
        s_is_wrong[0] ^= 1
        cases = [
            (pkcs8(P, der(0x30, der(0x04, self.seeds[2]), der(0x04, self.full[1]))), MISMATCH, "not of one pair"),
            (pkcs8(P, der(0x30, der(0x04, self.seeds[2]), der(0x04, bytes(hash_is_wrong)))), MISMATCH, "not of one pair"),
            (pkcs8(P, self.seeds[2]), INVALID_ENCODING, "none of seed, expandedKey and both"),
            (pkcs8(P, der(0x80, self.seeds[2][:-1])), INVALID_ENCODING, "the seed has 63 bytes, not 64"),
            (pkcs8(P, der(0x04, self.full[2][:-1])), INVALID_ENCODING, "expandedKey has 2399 bytes"),
            (pkcs8(P, der(0x30, der(0x04, self.full[2]), der(0x04, self.seeds[2]))), INVALID_ENCODING, "the seed has 2400 bytes"),
            (pkcs8(P, seed, b"\x05\0"), INVALID_ENCODING, "2 bytes after the end"),
            (der(0x30, b"\x02\x01\x02", der(0x30, OIDS[P]), der(0x04, seed)), INVALID_ENCODING, "neither 0 nor 1"),
            (der(0x30, b"\x02\x01\0", der(0x30, OIDS[P]), der(0x04, seed), der(0x81, b"\0", self.eks[2])), INVALID_ENCODING,
             "publicKey needs version 1"),
            (der(0x30, b"\x02\x01\x01", der(0x30, OIDS[P]), der(0x04, seed), der(0x81, b"\0", self.eks[1])), MISMATCH, "one pair"),
            (pkcs8(P, full), UNSUPPORTED, "without the seed form"),
        ]
        for bad, status, words in cases:
            self.fails_alone(bad, status, words, out="--dk", label="PRIVATE KEY")
        for dk, status in (hash_is_wrong, INVALID_DK), (s_is_wrong, MISMATCH):
            got, statuses, _ = self.imported(pkcs8(P, der(0x04, bytes(dk))) + pkcs8(P, full), rc=2, out="--dk")
            self.assertTrue(got == self.full[2])
            self.assertEqual(statuses, [status, 0])

    def test_forms_of_pem(self):
        """What RFC 7468 lets parsers take, OpenSSL decides."""
        blocks = [pem("PUBLIC KEY", one) for one in self.good]
        everything = b"".join(self.eks)
        text = base64.b64encode(self.good[1])
        narrow = b"\n".join(text[i:i + 40] for i in range(0, len(text), 40))
        for middle in (blocks[1].replace(b"\n", b"\r\n"), blocks[1].replace(b"\n", b" \n"), blocks[1].rstrip(),
                       b"Subject: somebody\n\n" + blocks[1] + b"\nmore\n-----BEGIN",
                       b"-----BEGIN PUBLIC KEY-----\n" + narrow + b"\n-----END PUBLIC KEY-----\n"):
            with self.subTest(middle=middle[:60]):
                got, statuses, failures = self.imported(blocks[0] + middle + b"\n" * (b"more" in middle) + blocks[2])
                self.assertTrue(got == everything)
                self.assertEqual((statuses, failures), ([0, 0, 0], []))
        self.assertTrue(self.imported(b"".join(blocks).replace(b"\n", b"\r\n"))[0] == everything)
        self.assertTrue(self.imported(blocks[0].rstrip() + blocks[1].rstrip() + blocks[2].rstrip())[0] == everything)
        self.assertTrue(self.imported(blocks[0] + self.good[1] + blocks[1] + b"# " + blocks[2])[0] == everything)
        got, statuses, _ = self.imported(blocks[0] + b"a line -----BEGIN PUBLIC KEY----- in a text\n" + blocks[2], rc=2)
        self.assertTrue(got == self.eks[0] + self.eks[2])
        self.assertEqual(statuses, [0, INVALID_ENCODING, 0])

    def test_bad_forms_of_pem(self):
        blocks = [pem("PUBLIC KEY", one) for one in self.good]
        header = b"-----BEGIN PUBLIC KEY-----\n"
        for middle, words in (
                (blocks[1].replace(header, header + b"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n"), "header lines"),
                (blocks[1][:500] + b"\0" + blocks[1][501:], "has a NUL at byte offset 2186" if len(blocks[0]) == 1686 else "NUL"),
                (blocks[1][:500] + b"!" + blocks[1][501:], "not PEM that OpenSSL can read"),
                (blocks[1].replace(b"-----END PUBLIC KEY-----\n", b""), "no line -----END PUBLIC KEY-----"),
                (blocks[1].replace(b"END PUBLIC", b"END PRIVATE"), "no line -----END PUBLIC KEY-----"),
                (blocks[1].replace(b"PUBLIC KEY", b"PRIVATE KEY"), "BEGIN PRIVATE KEY that holds something else"),
                (blocks[1].replace(b"PUBLIC KEY", b"CERTIFICATE"), "BEGIN CERTIFICATE that holds something else"),
                (blocks[1].replace(b"PUBLIC KEY", b"RSA PUBLIC KEY"), "BEGIN RSA PUBLIC KEY that holds something else"),
                (b"-----BEGIN PUBLIC KEY\n" + blocks[1][len(header):], "the BEGIN line has no end"),
                (b"-----BEGIN -----\n" + blocks[1][len(header):], "the BEGIN line has no label"),
                (header + b"-----END PUBLIC KEY-----\n", "holds nothing"),
                (b"-----BEGIN PUBLIC KEY-----\n" + b"A" * 3000000 + b"\n-----END PUBLIC KEY-----\n", "no key has more than"),
                (blocks[1].replace(b"-----END", b"====\n-----END"), "PEM")):
            with self.subTest(words=words):
                got, statuses, failures = self.imported(blocks[0] + middle + blocks[2], rc=2)
                self.assertTrue(got == self.eks[0] + self.eks[2])
                self.assertEqual([s != 0 for s in statuses], [False, True, False])
                self.assertTrue(failures[0].startswith(f"object 1 at byte offset {len(blocks[0])}: "), failures)
                self.assertIn(words, failures[0])

    def test_der_ends_where_no_length_is(self):
        """Good keys before it are not lost, and what is behind it is not passed over in silence."""
        for tail, words in ((b"\0", "tag 0x00"), (b"\x30\x80" + self.good[2][4:], "indefinite length"),
                            (b"\x30\xff", "no header"), (self.good[2][:700], "goes beyond the end"), (b"\x30", "header"),
                            (b"\x30\x84\x7f\xff\xff\xff\0", "no key has more than"),
                            (b"\x30\x87\xff\xff\xff\xff\xff\xff\xff\0", "no key has more than")):
            with self.subTest(words=words):
                got, statuses, failures = self.imported(self.good[0] + self.good[1] + tail, rc=2)
                self.assertTrue(got == self.eks[0] + self.eks[1])
                self.assertEqual(statuses, [0, 0, INVALID_ENCODING])
                self.assertTrue(failures[0].startswith("object 2 at byte offset 2412: "), failures)
                self.assertIn(words, failures[0])
        big = b"\x30\x83\x20\0\0" + bytes(0x200000)
        got, statuses, failures = self.imported(self.good[0] + big + self.good[1], rc=2)
        self.assertTrue(got == self.eks[0] + self.eks[1])
        self.assertEqual(statuses, [0, INVALID_ENCODING, 0])

    def test_inputs_without_keys(self):
        for data, words in ((b"", "holds no key"), (b"nothing\n" * 100, "holds no key"), (bytes(5000), "holds no key")):
            done = self.imported(data, rc=1)
            self.assertIn("--in in: " + words, done.stderr)
            done = self.imported(data, "--param", P, rc=1)
            self.assertIn("--allow-empty", done.stderr)
            self.assertEqual(self.imported(data, "--param", P, "--allow-empty"), (b"", [], []))
        done = self.imported(pem("CERTIFICATE", certificate(der(0x30, der(0x30, der(0x06, b"\x2b\x65\x70")), der(0x03, b"\0" * 33)))),
                             rc=1)
        self.assertIn("1.3.101.112", done.stderr)
        self.assertIn("--param says it", done.stderr)

    def test_failures_are_listed(self):
        data = b"".join(spki(P, BAD_EK if i % 3 else self.eks[0]) for i in range(60))
        self.write("in", data)
        done = self.tool("import", "--in", "in", "--ek", "out", "--failures", "failures", "--json", "--batch", 7, rc=2)
        self.assertEqual(done.stderr.count("WARPKEM_INVALID_EK"), 10)
        self.assertIn("40 of 60 objects failed", done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual((report["items"], report["failed"], report["records"]), (60, 40, 20))
        self.assertEqual([one["item"] for one in report["first_failures"][:3]], [1, 2, 4])
        self.assertEqual(report["first_failures"][1]["offset"], 2 * 1206)
        lines = self.read("failures").decode().splitlines()
        self.assertEqual(len(lines), 40)
        self.assertTrue(lines[-1].startswith(f"object 59 at byte offset {59 * 1206}: WARPKEM_INVALID_EK (3): "), lines[-1])
        self.assertEqual(self.read("out"), self.eks[0] * 20)


class Streams(KeyFiles):
    def test_bundles_longer_than_a_chunk(self):
        """Cut anywhere, by any number of threads, from a file and from a pipe: nothing is lost, nothing comes twice."""
        count = 12000
        ek, _ = self.keys(P, count)
        self.tool("export", "--param", P, "--ek", "made-ek", "--out", "b.pem", "--format", "pem")
        self.tool("export", "--param", P, "--ek", "made-ek", "--out", "b.der", "--format", "der")
        for name in "b.pem", "b.der":
            for threads in 1, 2, 5:
                with self.subTest(name=name, threads=threads):
                    self.tool("import", "--in", name, "--ek", "out", "--threads", threads, "--batch", 1000 * threads + 1)
                    self.assertTrue(self.read("out") == ek)
            self.tool("import", "--in", "-", "--ek", "out", stdin=self.read(name))
            self.assertTrue(self.read("out") == ek)
            data = self.read(name)
            self.tool("import", "--in", "-", "--ek", "out", stdin=data[:-1000], rc=2)
            self.assertTrue(self.read("out") == ek[:-EK])
        text = b"what stands between the blocks\n" * 400000  # longer than a chunk
        block = pem("PUBLIC KEY", spki(P, ek[:EK]))
        self.assertTrue(self.imported(text + block + text + block)[0] == 2 * ek[:EK])

    def test_memory_does_not_grow_with_the_input(self):
        peaks = []
        for count in 20000, 80000:
            zeros = subprocess.Popen(["head", "-c", str(count * EK), "/dev/zero"], stdout=subprocess.PIPE)
            export = self.start("export", "--param", P, "--ek", "-", "--out", "-", "--format", "pem", "--force",
                                stdin=zeros.stdout, stdout=subprocess.PIPE)
            process = self.start("import", "--in", "-", "--ek", "/dev/null", "--json", stdin=export.stdout,
                                 stdout=subprocess.PIPE)
            zeros.stdout.close(), export.stdout.close()
            report = json.loads(process.stdout.read())
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            process.stdout.close()
            self.assertEqual((process.returncode, zeros.wait(), export.wait()), (0, 0, 0))
            self.assertEqual(report["records"], count)
            peaks.append(usage.ru_maxrss)
        if not os.environ.get("WARPKEM_SANITIZED"):
            self.assertLess(peaks[1], peaks[0] + 16 * 1024)

    def test_files_appear_whole_or_not_at_all(self):
        _, seeds = self.keys(P, 2)
        data = b"".join(pem("PRIVATE KEY", pkcs8(P, der(0x80, one))) for one in self.records(seeds, 2))
        self.write("in", data)
        self.tool("import", "--in", "in", "--dk", "out", "--dk-format", "seed")
        self.assertEqual((self.dir / "out").stat().st_mode & 0o777, 0o600)
        done = self.tool("import", "--in", "in", "--dk", "out", "--dk-format", "seed", rc=1)
        self.assertIn("--force", done.stderr)
        self.tool("import", "--in", "in", "--dk", "in", rc=1)
        self.assertEqual(self.read("in"), data)
        self.tool("import", "--in", "in", "--dk", "new", "--status", "missing/x", rc=1)
        self.assertNotIn("new", self.files())


class OtherCommands(KeyFiles):
    """--format of keygen, encaps, decaps and check."""

    def test_whole_way_in_pem_and_der(self):
        for param in "512", P, "1024", "X-Wing", "MLKEM768-P256", "MLKEM1024-P384":
            for form in "pem", "der":
                with self.subTest(param=param, form=form):
                    self.tool("keygen", "--param", param, "--count", 20, "--ek", "ek", "--dk", "dk", "--format", form, "--force")
                    files = ["--format", form, "--force"]
                    self.tool("encaps", "--ek", "ek", "--ciphertext", "c", "--shared-secret", "K", *files)
                    self.tool("decaps", "--dk", "dk", "--ciphertext", "c", "--shared-secret", "K2", *files)
                    self.assertEqual(self.read("K"), self.read("K2"))
                    self.assertEqual(len(set(self.records(self.read("K"), 20))), 20)
                    self.tool("check", "--ek", "ek", *files)
                    if "P" not in param or param == P:  # of composite keys nothing tells the ek
                        self.tool("check", "--ek", "ek", "--dk", "dk", *files)

    def test_forms_of_dk(self):
        for form, size in ("seed", 86), ("expanded", 2428), ("both", 2498):
            self.tool("keygen", "--param", P, "--count", 3, "--ek", "ek", "--dk", "dk", "--format", "der", "--private-form", form,
                      "--force")
            self.assertEqual((self.dir / "dk").stat().st_size, 3 * size)
            self.assertEqual((self.dir / "dk").stat().st_mode & 0o777, 0o600)
            self.tool("encaps", "--ek", "ek", "--ciphertext", "c", "--shared-secret", "K", "--format", "der", "--force")
            for more in [], ["--dk-format", "seed"] if form != "expanded" else ["--dk-format", "expanded"]:
                self.tool("decaps", "--dk", "dk", "--ciphertext", "c", "--shared-secret", "K2", "--format", "der", "--force", *more)
                self.assertEqual(self.read("K"), self.read("K2"))
        seeds = self.keys(P)[1]
        self.write("seeds", seeds)
        for dk_format, name in ("seed", "from-seeds"), ("expanded", "from-expanded"):
            self.tool("keygen", "--param", P, "--seeds", "seeds", "--ek", "ek", "--dk", name, "--format", "der", "--dk-format",
                      dk_format, "--private-form", "expanded", "--force")
        self.assertTrue(self.read("from-seeds") == self.read("from-expanded"))
        done = self.tool("keygen", "--param", P, "--count", 3, "--ek", "x", "--dk", "y", "--private-form", "seed", rc=1)
        self.assertIn("--format pem or der", done.stderr)

    def test_unreadable_keys_fail_alone(self):
        ek, seeds = self.keys(P, 4)
        eks, seeds = self.records(ek, 4), self.records(seeds, 4)
        good = [pem("PUBLIC KEY", spki(P, one)) for one in eks]
        private = [pem("PRIVATE KEY", pkcs8(P, der(0x80, one))) for one in seeds]
        broken = pem("PUBLIC KEY", der(0x30, der(0x30, OIDS[P], b"\x05\0"), der(0x03, b"\0", eks[2])))
        self.write("eks", good[0] + good[1] + broken + good[3])
        self.write("dks", private[0] + private[1][:60] + b"!" + private[1][61:] + private[2] + private[3])
        for reuse in 1, 3:
            args = ["--format", "pem", "--key-reuse", reuse, "--force"]
            done = self.tool("encaps", "--ek", "eks", "--ciphertext", "c", "--shared-secret", "K", "--status", "status", *args, rc=2)
            self.assertIn(f"item {2 * reuse}: WARPKEM_INVALID_ENCODING (18): key at byte offset {len(good[0] + good[1])}: ",
                          done.stderr)
            self.assertIn("the algorithm has parameters", done.stderr)
            wanted = [INVALID_ENCODING if i // reuse == 2 else 0 for i in range(4 * reuse)]
            self.assertEqual(list(self.read("status")), wanted)
            sent = self.records(self.read("K"), 4 * reuse)
            self.assertEqual([K == bytes(32) for K in sent], [s != 0 for s in wanted])
            for form in "seed", "expanded":  # any 64 bytes are a seed: what stands in for this one must not be used
                self.tool("decaps", "--dk", "dks", "--ciphertext", "c", "--shared-secret", "K2", "--status", "status", *args,
                          "--dk-format", form, rc=2)
                statuses, got = list(self.read("status")), self.records(self.read("K2"), 4 * reuse)
                self.assertEqual([s != 0 for s in statuses], [i // reuse == 1 for i in range(4 * reuse)])
                for i in range(4 * reuse):
                    self.assertEqual(got[i] == (bytes(32) if i // reuse == 1 else sent[i]), i // reuse != 2)
        done = self.tool("check", "--ek", "eks", "--dk", "dks", "--format", "pem", "--status", "status", "--json", rc=2)
        self.assertEqual([s != 0 for s in self.read("status")], [False, True, True, False])
        self.assertEqual(json.loads(done.stdout)["failed"], 2)
        self.write("dks", private[0] + private[3] + private[2])
        self.write("eks", b"".join(good[:3]))
        done = self.tool("check", "--ek", "eks", "--dk", "dks", "--format", "pem", rc=2)
        self.assertIn("item 1: WARPKEM_INVALID_DK (4): dk does not belong to ek", done.stderr)
        self.write("eks", b"".join(good))
        self.assertIn("ends after 3 keys", self.tool("check", "--ek", "eks", "--dk", "dks", "--format", "pem", rc=1).stderr)
        self.write("eks", b"".join(good[:2]))
        self.assertIn("goes on after the 2 keys", self.tool("check", "--ek", "eks", "--dk", "dks", "--format", "pem", rc=1).stderr)

    def test_form_and_set_are_told_by_the_keys(self):
        """From a file and through a pipe, without --param and --format, and with one of them."""
        def source(name, through_pipe):
            return ("-", self.read(name)) if through_pipe else (name, b"")

        for param in P, "X-Wing":
            for form in "pem", "der":
                self.tool("keygen", "--param", param, "--count", 20, "--ek", "ek", "--dk", "dk", "--format", form, "--force")
                if form == "pem":  # with a byte order mark, and a description as OpenSSL writes it
                    self.write("ek", b"\xef\xbb\xbfPublic-Key:\n  ek:\n    00:01:02\n" + self.read("ek"))
                for through_pipe in False, True:
                    for more in [], ["--param", param], ["--format", form]:
                        with self.subTest(param=param, form=form, through_pipe=through_pipe, more=more):
                            ek, stdin = source("ek", through_pipe)
                            self.tool("encaps", "--ek", ek, "--ciphertext", "c", "--shared-secret", "K", "--force", *more, stdin=stdin)
                            self.tool("check", "--ek", ek, *more, stdin=stdin)
                            dk, stdin = source("dk", through_pipe)
                            self.tool("decaps", "--dk", dk, "--ciphertext", "c", "--shared-secret", "K2", "--force", *more, stdin=stdin)
                            self.assertEqual(self.read("K"), self.read("K2"))
                            self.assertEqual(len(set(self.records(self.read("K"), 20))), 20)
        self.write("cert", certificate(spki(P, self.keys(P, 1)[0])))
        self.tool("encaps", "--ek", "cert", "--ciphertext", "c", "--shared-secret", "K", "--force")

    def test_set_is_told_by_records(self):
        for param in SETS:
            self.keygen(3, "ek", "dk", param, "--force")
            for ek, dk in ("ek", "dk"), ("-", "-"):
                self.tool("encaps", "--ek", ek, "--ciphertext", "c", "--shared-secret", "K", "--force", stdin=self.read("ek"))
                self.tool("decaps", "--dk", dk, "--ciphertext", "c", "--shared-secret", "K2", "--force", stdin=self.read("dk"))
                self.assertEqual(self.read("K"), self.read("K2"))
                self.tool("export", "--ek", ek, "--out", "out.pem", "--format", "pem", stdin=self.read("ek"))
                self.tool("export", "--dk", dk, "--out", "out.der", "--format", "der", "--force", stdin=self.read("dk"))
            self.tool("check", "--ek", "ek", "--dk", "dk")
            self.tool("import", "--in", "out.pem", "--ek", "again")
            self.assertEqual(self.read("again"), self.read("ek"))
            self.tool("check", "--ek", "out.pem", "--dk", "dk")  # each in its own form

    def test_a_batch_is_not_waited_for_longer_than_it_takes(self):
        """With --param, a record that comes through a pipe is worked on before the next one is there."""
        ek, _ = self.keys(P, 2)
        process = self.start("encaps", "--param", P, "--ek", "-", "--ciphertext", "-", "--shared-secret", "/dev/null", "--batch", 1,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for record in self.records(ek, 2):
            process.stdin.write(record)
            process.stdin.flush()
            self.assertEqual(len(process.stdout.read(SETS[P][2])), SETS[P][2])
        process.stdin.close()
        process.stdout.close()
        self.assertEqual(process.wait(60), 0)

    def test_keys_of_another_kind_or_set_are_refused_as_a_whole(self):
        ek, seeds = self.keys(P, 1)
        self.write("public", pem("PUBLIC KEY", spki(P, ek)))
        self.write("private", pem("PRIVATE KEY", pkcs8(P, der(0x80, seeds))))
        encaps = ["encaps", "--ciphertext", "c", "--shared-secret", "K", "--ek"]
        done = self.tool(*encaps, "private", "--param", P, rc=1)
        self.assertIn("--ek private: is a PEM text (BEGIN PRIVATE KEY), where ek of ML-KEM-768 is wanted; object 0", done.stderr)
        done = self.tool(*encaps, "public", "--param", "512", rc=1)
        self.assertIn("a key of ML-KEM-768, where those of ML-KEM-512 are read", done.stderr)
        self.tool(*encaps, "public", "--param", "512", "--format", "pem", rc=2)  # as such: items that fail
        self.assertEqual(self.read("K"), bytes(32))

    def test_param_that_nothing_tells(self):
        ek, seeds = self.keys(P, 1)
        encaps = ["encaps", "--ciphertext", "c", "--shared-secret", "K", "--ek"]
        hybrid, _ = self.keys("X-Wing", 1)
        self.write("other", hybrid)
        self.write("bad", BAD_EK)
        for name, words in (("bad", "nothing in it tells"), ("other", "X25519MLKEM768 or MLKEM768-X25519"), ("made-dk", "--param"),
                            ("/dev/null", "nothing in it tells")):
            done = self.tool(*encaps, name, rc=1)
            self.assertIn(f"--ek {name}: ", done.stderr)
            self.assertIn(words, done.stderr)
            self.assertIn("--param", done.stderr)
        self.write("made-ek", ek)
        done = self.tool(*encaps, "made-ek", "--format", "pem", rc=1)
        self.assertIn("holds no key in PEM or DER", done.stderr)
        self.write("seeds", seeds)
        self.write("given-c", bytes(SETS[P][2]))
        done = self.tool("decaps", "--dk", "seeds", "--dk-format", "seed", "--ciphertext", "given-c", "--shared-secret", "K", rc=1)
        self.assertIn("--dk seeds: nothing in it tells", done.stderr)
        self.assertIn("missing: --param P", self.tool("keygen", "--seeds", "seeds", "--ek", "e", "--dk", "d", rc=1).stderr)
        self.assertEqual([name for name in self.files() if name in ("c", "K")], [])

    def test_compressed_files_and_other_texts(self):
        ek, _ = self.keys(P, 2)
        key = pem("PUBLIC KEY", spki(P, ek[:EK]))
        for name, data, words in (("gz", gzip.compress(key), "gzip-compressed data; decompress it first"),
                                  ("utf-16", key.decode().encode("utf-16"), "is text in UTF-16"),
                                  ("mark", b"\xef\xbb\xbf" + spki(P, ek[:EK]), "take away the first 3 bytes")):
            self.write(name, data)
            for through_pipe in False, True:
                for command in ["encaps", "--ciphertext", "c", "--shared-secret", "K", "--ek"], ["import", "--ek", "x", "--in"]:
                    for more in [], ["--format", "pem"]:
                        path = "-" if through_pipe else name
                        done = self.tool(*command, path, *more, rc=1, stdin=data if through_pipe else b"")
                        if command[0] == "import" or more:
                            self.assertIn(f"{command[-1]} {path}: ", done.stderr)
                            self.assertIn(words, done.stderr)
        self.write("in", b"\xef\xbb\xbf" + key)
        self.tool("import", "--in", "in", "--ek", "out")
        self.assertEqual(self.read("out"), ek[:EK])


class Inspect(KeyFiles):
    def inspected(self, data, rc=0, *more):
        self.write("file", data)
        text = self.tool("inspect", "--in", "file", *more, rc=rc).stdout.decode()
        report = json.loads(self.tool("inspect", "--in", "file", "--json", *more, rc=rc).stdout)
        piped = json.loads(self.tool("inspect", "--in", "-", "--json", *more, rc=rc, stdin=data).stdout)
        for one in report.get("could_be", []) + piped.get("could_be", []):
            one.pop("records", None)  # of a pipe that holds more than is looked at nobody knows
        self.assertEqual({**piped, "file": "file"}, {**report, "bytes": piped["bytes"]})
        return report, text

    def test_keys(self):
        ek, seeds = self.keys(P, 3)
        self.tool("keygen", "--param", P, "--seeds", "made-dk", "--ek", "made-ek", "--dk", "full", "--force")
        eks, seeds, full = self.records(ek, 3), self.records(seeds, 3), self.records(self.read("full"), 3)
        objects = [("PUBLIC KEY", spki(P, eks[0])), ("PRIVATE KEY", pkcs8(P, der(0x80, seeds[0]))),
                   ("PRIVATE KEY", pkcs8(P, der(0x04, full[0]))), ("CERTIFICATE", certificate(spki(P, eks[0]))),
                   ("PRIVATE KEY", pkcs8(P, der(0x30, der(0x04, seeds[0]), der(0x04, full[0]))))]
        for form, data in ("pem", b"".join(pem(*one) for one in objects)), ("der", b"".join(one for _, one in objects)):
            report, text = self.inspected(data)
            self.assertEqual((report["kind"], report["objects"], report["valid"], report["bytes"]), (form, 5, 5, len(data)))
            self.assertEqual([one["form"] for one in report["first"]], ["public", "seed", "expanded", "certificate", "both"])
            self.assertEqual({one["fingerprint"] for one in report["first"]}, {hashlib.sha256(objects[0][1]).hexdigest()})
            self.assertEqual(sum(one["count"] for one in report["groups"]), 5)
            self.assertIn("5 objects, 5 valid", text)
        bad = spki(P, BAD_EK)
        report, text = self.inspected(objects[0][1] + bad + b"\x30\x02\x05\0", 2, "--list", 2)
        self.assertEqual((report["objects"], report["valid"], len(report["first"])), (3, 1, 2))
        self.assertIn("NOT valid: ", text)
        self.assertIn("and 1 more", text)
        self.write("pass", b"p")
        report, _ = self.inspected(encrypted(objects[1][1], b"p"), 0, "--passphrase-file", "pass")
        self.assertEqual(report["first"][0]["encrypted"], True)

    def test_records(self):
        for param in *SETS, "SecP256r1MLKEM768":
            ek, _ = self.keys(param, 30)
            report, text = self.inspected(ek)
            self.assertEqual((report["kind"], report["content"], report["objects"], report["valid"]),
                             ("raw", f"ek of {param}", 30, 30))
            self.assertIn(f"30 of ek of {param}, 30 valid", text)
        report, _ = self.inspected(self.keys("X-Wing", 30)[0], 2)  # two have the same ek
        self.assertEqual([one["content"] for one in report["could_be"]], ["ek of X25519MLKEM768", "ek of MLKEM768-X25519"])
        _, dk = self.keys(P, 3, "expanded")
        ek = self.read("made-ek")
        report, _ = self.inspected(dk)
        self.assertEqual((report["content"], report["valid"]), (f"expanded dk of {P}", 3))
        self.assertEqual(report["first"][2]["fingerprint"], hashlib.sha256(spki(P, ek[2 * EK:])).hexdigest())
        bad = bytearray(dk)
        bad[2400] ^= 1
        report, _ = self.inspected(bytes(bad), 2)
        self.assertEqual([one["status"] for one in report["first"]], [0, MISMATCH, 0])
        report, text = self.inspected(os.urandom(64 * 3), 2)
        self.assertEqual(report["kind"], "unknown")
        self.assertIn("3 seeds d || z", text)
        for data, kind in ((b"", "empty"), (b"\xff" * 77, "unknown"), (b"0123456789abcdef" * 20, "hexadecimal text")):
            self.assertEqual(self.inspected(data, 2)[0]["kind"], kind)


@unittest.skipUnless(shutil.which("openssl"), "no openssl program")
class Encrypted(KeyFiles):
    def setUp(self):
        super().setUp()
        self.seeds = [hashlib.shake_256(bytes([i])).digest(64) for i in range(3)]
        plain = [pkcs8(P, der(0x80, one)) for one in self.seeds]
        self.bundle = (pem("ENCRYPTED PRIVATE KEY", encrypted(plain[0], b"correct horse")) + pem("PRIVATE KEY", plain[1]) +
                       pem("ENCRYPTED PRIVATE KEY", encrypted(plain[2], b"correct horse")))
        self.plain = plain

    def test_passphrase_of_a_file_and_of_a_descriptor(self):
        everything = b"".join(self.seeds)
        for line in b"correct horse", b"correct horse\n", b"correct horse\r\nmore\n":
            self.write("pass", line)
            self.assertTrue(self.imported(self.bundle, "--passphrase-file", "pass", "--dk-format", "seed", out="--dk")[0] == everything)
        ends = os.pipe()
        os.write(ends[1], b"correct horse\n")
        os.close(ends[1])
        self.write("in", self.bundle)
        self.tool("import", "--in", "in", "--dk", "new", "--dk-format", "seed", "--passphrase-fd", ends[0], pass_fds=[ends[0]])
        os.close(ends[0])
        self.assertTrue(self.read("new") == everything)
        self.tool("import", "--in", "in", "--dk", "x", "--passphrase-fd", 0, "--passphrase-file", "pass", rc=1)
        self.tool("import", "--in", "in", "--dk", "x", "--passphrase-file", "missing", rc=1)
        self.write("long", b"x" * 5000)
        self.assertIn("1024", self.tool("import", "--in", "in", "--dk", "x", "--passphrase-file", "long", rc=1).stderr)
        der_bundle = b"".join(encrypted(one, b"") for one in self.plain)
        self.write("pass", b"")
        self.assertTrue(self.imported(der_bundle, "--passphrase-file", "pass", "--dk-format", "seed", out="--dk")[0] == everything)

    def test_what_cannot_be_decrypted_fails_alone(self):
        self.write("pass", b"wrong horse")
        got, statuses, failures = self.imported(self.bundle, "--passphrase-file", "pass", "--dk-format", "seed", rc=2, out="--dk")
        self.assertTrue(got == self.seeds[1])
        self.assertEqual(statuses, [UNSUPPORTED, 0, UNSUPPORTED])
        self.assertIn("the passphrase is another one", failures[0])
        self.write("pass", b"p")
        for plain, words in ((spki(P, bytes(EK)), "a public key, where private"), (b"\x30\x05hello", "of what was encrypted: "),
                             (encrypted(self.plain[0], b"p"), "encrypted twice")):
            got, _, failures = self.imported(encrypted(plain, b"p"), "--passphrase-file", "pass", "--param", P, rc=2, out="--dk")
            self.assertEqual(got, b"")
            self.assertIn(words, failures[0])
        pbes1 = der(0x30, der(0x30, der(0x06, bytes.fromhex("2a864886f70d010503")), b"\x05\0"), der(0x04, bytes(16)))
        self.assertIn("accepted: PBES2", self.imported(pbes1, "--passphrase-file", "pass", "--param", P, rc=2, out="--dk")[2][0])

    def test_work_is_bounded(self):
        """A file cannot keep the tool busy for hours."""
        self.write("pass", b"p")
        words = ["--passphrase-file", "pass", "--param", P, "--dk-format", "seed"]
        good = [encrypted(self.plain[0], b"p", 20000), encrypted_by_scrypt(self.plain[1], b"p")]
        self.assertTrue(self.imported(b"".join(good), *words, out="--dk")[0] == self.seeds[0] + self.seeds[1])
        greedy = [encrypted(self.plain[0], b"p", claimed=count) for count in (10_000_001, 2**31 - 1, 2**31, 2**64, 2**80)]
        greedy += [encrypted_by_scrypt(self.plain[0], b"p", claimed) for claimed in ((2**17, 1, 2**17), (2**14, 1, 1025), (2**70, 8, 1))]
        started = time.monotonic()
        got, statuses, failures = self.imported(b"".join([*greedy, good[0]]), *words, rc=2, out="--dk")
        self.assertLess(time.monotonic() - started, 20)
        self.assertTrue(got == self.seeds[0])
        self.assertEqual(statuses, [UNSUPPORTED] * len(greedy) + [0])
        for failure in failures:
            self.assertIn("too much work", failure)

    def on_own_terminal(self, text):
        """In a session of its own whose terminal gives this text; None: without a terminal."""
        self.write("in", self.bundle)
        master, terminal = pty.openpty()

        def prepare():
            os.setsid()
            if text is not None:
                fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        process = subprocess.Popen([TOOL, "import", "--in", "in", "--dk", "out", "--dk-format", "seed", "--force"], cwd=self.dir,
                                   stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=[terminal], preexec_fn=prepare)
        seen = b""
        if text is not None:
            while b"Passphrase" not in seen:
                seen += os.read(master, 100)
            time.sleep(0.2)  # until it does not echo
            os.write(master, text)
            while b"\n" not in seen:
                seen += os.read(master, 100)
        errors = process.communicate(timeout=60)[1].decode()
        os.close(master), os.close(terminal)
        return process.returncode, errors, seen

    def test_passphrase_of_a_terminal(self):
        rc, errors, seen = self.on_own_terminal(b"correct horse\n")
        self.assertEqual((rc, errors), (0, ""))
        self.assertNotIn(b"horse", seen)
        self.assertTrue(self.read("out") == b"".join(self.seeds))
        rc, errors, _ = self.on_own_terminal(None)
        self.assertEqual(rc, 2)
        self.assertIn("neither a terminal nor --passphrase-file", errors)
        self.assertTrue(self.read("out") == self.seeds[1])


if __name__ == "__main__":
    unittest.main(verbosity=2)
