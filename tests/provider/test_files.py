#!/usr/bin/env python3
"""Key files by `openssl genpkey`, `pkey` and certificates with the provider; Node's own OpenSSL is the other side."""
import base64
import pathlib
import re
import unittest

from tls_case import NODE, TlsCase

HERE = pathlib.Path(__file__).parent
# name: bytes of the seed's PKCS#8, of the expanded key's, of both, of the public key's SubjectPublicKeyInfo
SETS = {"ML-KEM-512": (86, 1660, 1730, 822), "ML-KEM-768": (86, 2428, 2498, 1206), "ML-KEM-1024": (86, 3196, 3266, 1590)}


class Files(TlsCase):
    def openssl(self, *words, **more):
        more.setdefault("env", self.with_provider)
        return self.run_program("openssl", *words, **more)

    def generate(self, name, path="k.pem", form="seed"):
        env = self.configuration(f"{form}.cnf", settings=f"private_keys = {form}")
        self.openssl("genpkey", "-algorithm", name, "-out", self.folder / path, env=env)
        return self.folder / path

    @staticmethod
    def der(path):
        return base64.b64decode("".join(re.findall(r"(?m)^[^-].*$", path.read_text())))

    def public(self, key, path="p.pem"):
        self.openssl("pkey", "-in", key, "-pubout", "-out", self.folder / path)
        return self.folder / path

    def test_every_form_of_private_key(self):
        for name, sizes in SETS.items():
            for form, size in zip(("seed", "expanded", "both"), sizes):
                with self.subTest(name=name, form=form):
                    key = self.generate(name, form=form)
                    self.assertEqual(len(self.der(key)), size)
                    public = self.public(key)
                    self.assertEqual(len(self.der(public)), sizes[3])
                    # What is written is what is read, whichever form it has.
                    der, again = self.folder / "k.der", self.folder / "again.pem"
                    self.openssl("pkey", "-in", key, "-outform", "DER", "-out", der)
                    env = self.configuration("again.cnf", settings=f"private_keys = {form}")
                    self.openssl("pkey", "-inform", "DER", "-in", der, "-out", again, env=env)
                    self.assertEqual(self.der(again), self.der(key))
                    self.assertEqual(self.der(self.public(again, "p2.pem")), self.der(public))

    def test_under_a_password(self):
        key, sealed = self.generate("ML-KEM-768"), self.folder / "sealed.pem"
        self.openssl("pkey", "-in", key, "-aes-256-cbc", "-passout", "pass:word", "-out", sealed)
        self.assertIn("BEGIN ENCRYPTED PRIVATE KEY", sealed.read_text())
        self.assertEqual(self.openssl("pkey", "-in", sealed, "-passin", "pass:word"), key.read_text())
        self.openssl("pkey", "-in", sealed, "-passin", "pass:other", fails=True)

    def test_text(self):
        key = self.generate("ML-KEM-512")
        text = self.openssl("pkey", "-in", key, "-noout", "-text")
        self.assertRegex(text, r"ML-KEM-512 Private-Key:\s+seed:[\s\S]+dk:[\s\S]+ek:")
        text = self.openssl("pkey", "-pubin", "-in", self.public(key), "-noout", "-text")
        self.assertIn("ML-KEM-512 Public-Key:", text)
        self.assertNotIn("seed", text)

    def test_certificates(self):
        for name in SETS:
            with self.subTest(name=name):
                public, certificate = self.public(self.generate(name)), self.folder / "certificate.pem"
                self.openssl("x509", "-new", "-force_pubkey", public, "-subj", "/CN=a key", "-CA", self.cert, "-CAkey", self.key,
                             "-out", certificate)
                self.assertEqual(self.openssl("x509", "-in", certificate, "-noout", "-pubkey"), public.read_text())
                self.assertIn(name, self.openssl("x509", "-in", certificate, "-noout", "-text"))
                self.assertIn("OK", self.openssl("verify", "-partial_chain", "-trusted", self.cert, certificate))

    def test_files_that_are_wrong_are_refused(self):
        key = self.generate("ML-KEM-768", form="both")
        der = self.der(key)
        changed = {"cut": der[:-1], "of another length": der[:3] + bytes([der[3] ^ 1]) + der[4:],
                   "whose seed is another's": der[:40] + bytes([der[40] ^ 1]) + der[41:],
                   "whose expanded key is another's": der[:-1] + bytes([der[-1] ^ 1])}
        for what, data in changed.items():
            with self.subTest(what):
                (self.folder / "bad.der").write_bytes(data)
                self.openssl("pkey", "-inform", "DER", "-in", self.folder / "bad.der", "-noout", fails=True)
        public = self.der(self.public(key))
        bad = bytearray(public)
        bad[22:25] = b"\xff\xff\xff"
        (self.folder / "bad.der").write_bytes(bad)
        self.openssl("pkey", "-pubin", "-inform", "DER", "-in", self.folder / "bad.der", "-noout", fails=True)

    def test_other_keys_are_left_to_others(self):
        self.assertIn("BEGIN PRIVATE KEY", self.openssl("pkey", "-in", self.key))
        self.assertIn("BEGIN PUBLIC KEY", self.openssl("x509", "-in", self.cert, "-noout", "-pubkey"))

    def test_encapsulation_by_the_tool_of_openssl(self):
        if "-encap" not in self.openssl("pkeyutl", "-help"):
            self.skipTest("this version's pkeyutl has no -encap")
        key, c, sent, received = self.generate("ML-KEM-768"), *(self.folder / name for name in ("c", "sent", "received"))
        self.openssl("pkeyutl", "-encap", "-pubin", "-inkey", self.public(key), "-out", c, "-secret", sent)
        self.openssl("pkeyutl", "-decap", "-inkey", key, "-in", c, "-secret", received)
        self.assertEqual(sent.read_bytes(), received.read_bytes())

    @unittest.skipUnless(NODE, "no Node 24")
    def test_node_reads_what_is_written(self):
        for name in SETS:
            for form in "seed", "both", "expanded":
                with self.subTest(name=name, form=form):
                    key = self.generate(name, form=form)
                    text = self.run_program(NODE, HERE / "node_keys.js", "same", key, self.public(key), env=self.without_provider())
                    self.assertEqual(text.strip(), "same")

    @unittest.skipUnless(NODE, "no Node 24")
    def test_what_node_writes_is_read(self):
        for name in SETS:
            with self.subTest(name=name):
                key, public = self.folder / "node.pem", self.folder / "node-public.pem"
                self.run_program(NODE, HERE / "node_keys.js", "make", name, key, public, env=self.without_provider())
                self.assertEqual(self.der(self.public(key)), self.der(public))
                env = self.configuration("seed-again.cnf", settings="private_keys = both")
                self.assertEqual(len(re.sub(r"-.*-|\s", "", self.openssl("pkey", "-in", key, env=env))) * 3 // 4 // 10,
                                 SETS[name][2] // 10)


if __name__ == "__main__":
    unittest.main(verbosity=2)
