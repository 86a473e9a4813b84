#!/usr/bin/env python3
"""The tool with hybrid KEMs: forms of keys, pairs that belong together, HPKE's key material, published cases."""
import json
import os
import pathlib
import unittest

from tool_case import LONG, SANITIZED, ToolTest

KATS = pathlib.Path(os.environ.get("WARPKEM_KAT_DIR", ".")) / "hybrid" / "cases.jsonl"
# name: bytes of ek, c, K, and of each form of dk
HYBRIDS = {
    "X25519MLKEM768": (1216, 1120, 64, {"expanded": 2432, "seed": 96}),
    "SecP256r1MLKEM768": (1249, 1153, 64, {"expanded": 2432, "seed": 192}),
    "SecP384r1MLKEM1024": (1665, 1665, 80, {"expanded": 3216, "seed": 112}),
    "MLKEM768-X25519": (1216, 1120, 32, {"seed": 32, "composite": 96}),
    "MLKEM768-P256": (1249, 1153, 32, {"seed": 32, "composite": 115}),
    "MLKEM1024-P384": (1665, 1665, 32, {"seed": 32, "composite": 128}),
}
INVALID_EK, INVALID_DK, INVALID_C = 3, 4, 16


class Hybrids(ToolTest):
    def generate(self, param, count, *more, suffix=""):
        self.keygen(count, "ek" + suffix, "dk" + suffix, param, "--force", *more)

    def test_every_hybrid_and_form(self):
        count = 3 if SANITIZED and not LONG else 11
        for param, (ek, c, K, forms) in HYBRIDS.items():
            for form, dk in forms.items():
                with self.subTest(param=param, form=form):
                    self.generate(param, count, "--dk-format", form)
                    self.encaps("--key-reuse", 2, "--force", param=param)
                    self.decaps("--key-reuse", 2, "--force", "--dk-format", form, param=param)
                    self.assertEqual(self.read("K"), self.read("K2"))
                    self.assertEqual([len(self.read(name)) for name in ("ek", "dk", "c", "K")],
                                     [count * ek, count * dk, 2 * count * c, 2 * count * K])
                    self.tool("check", "--param", param, "--ek", "ek", "--dk", "dk", "--dk-format", form)
                    self.tool("check", "--param", param, "--dk", "dk", "--dk-format", form)

    def test_the_form_is_chosen_where_it_is_not_given(self):
        for param in HYBRIDS:
            forms = HYBRIDS[param][3]
            self.generate(param, 2)
            self.assertEqual(len(self.read("dk")), 2 * forms.get("expanded", forms["seed"]), param)
            for form in {"expanded", "seed", "composite"} - forms.keys():
                done = self.tool("keygen", "--param", param, "--count", 1, "--ek", "e", "--dk", "d", "--dk-format", form, rc=1)
                self.assertIn(f"{param} has no such form", done.stderr)

    def test_keys_of_different_pairs_are_told_apart(self):
        for param, (_, _, _, forms) in HYBRIDS.items():
            for form in forms:
                self.generate(param, 2, "--dk-format", form)
                self.generate(param, 2, "--dk-format", form, suffix="-other")
                done = self.tool("check", "--param", param, "--ek", "ek", "--dk", "dk-other", "--dk-format", form, rc=2)
                self.assertIn("dk does not belong to ek", done.stderr, (param, form))

    def test_a_bad_curve_part_fails_alone(self):
        self.generate("MLKEM768-P256", 3)
        ek = bytearray(self.read("ek"))
        ek[1249 + 1248] ^= 1
        self.write("bad", ek)
        self.tool("check", "--param", "MLKEM768-P256", "--ek", "bad", "--status", "s", rc=2)
        self.assertEqual(self.read("s"), bytes([0, INVALID_EK, 0]))
        self.encaps(param="MLKEM768-P256")
        c = bytearray(self.read("c"))
        c[2 * 1153 + 1088] = 2
        self.write("c", c)
        done = self.decaps("--status", "s", "--force", rc=2, param="MLKEM768-P256")
        self.assertEqual(self.read("s"), bytes([0, 0, INVALID_C]))
        self.assertIn("INVALID_C", done.stderr)
        self.assertEqual(self.read("K2"), self.read("K")[:64] + bytes(32))

    def test_names_and_numbers_of_protocols(self):
        self.generate("X-Wing", 1)
        for name in "4588", "0x647A", "x25519mlkem768", "1.3.6.1.5.5.7.6.58":
            self.tool("check", "--param", name, "--ek", "ek")

    def test_other_keys_are_recognised(self):
        self.keygen(2, "ek768", "dk768", "ML-KEM-768")
        self.generate("X25519MLKEM768", 37)
        self.assertIn("ek of ML-KEM-768", self.encaps(ek="ek768", param="X-Wing", rc=1).stderr)
        done = self.tool("keygen", "--param", "X-Wing", "--seeds", "dk", "--ek", "e", "--dk", "d", rc=1)
        self.assertIn("expanded dk of X25519MLKEM768", done.stderr)

    def test_hpke_key_material(self):
        self.write("ikm", bytes(range(96)))
        self.tool("keygen", "--param", "X-Wing", "--hpke-ikm", "ikm", "--ikm-bytes", 48, "--ek", "ek", "--dk", "dk")
        self.assertEqual(len(self.read("dk")), 64)
        for wrong in (["--hpke-ikm", "ikm"], ["--count", 2, "--ikm-bytes", 48],
                      ["--hpke-ikm", "ikm", "--ikm-bytes", 48, "--dk-format", "composite"]):
            self.tool("keygen", "--param", "X-Wing", "--ek", "e", "--dk", "d", *wrong, rc=1)
        self.tool("keygen", "--param", "4588", "--hpke-ikm", "ikm", "--ikm-bytes", 48, "--ek", "e", "--dk", "d", rc=1)

    @unittest.skipUnless(KATS.is_file(), "no published cases")
    def test_published_cases(self):
        for line in KATS.read_text().splitlines():
            case = json.loads(line)
            param, op = case["set"], case["op"]
            given, expected = ({k: bytes.fromhex(v) for k, v in case[side].items() if isinstance(v, str)} for side in ("in", "out"))
            with self.subTest(param=param, op=op):
                if op == "composite-decaps":
                    self.write("dk", given["dk"]), self.write("c", given["c"])
                    self.decaps("--dk-format", "composite", "--force", param=param)
                    self.assertEqual(self.read("K2"), expected["K"])
                    continue
                name, value = ("--seeds", given["seed"]) if op == "kem" else ("--hpke-ikm", given["ikm"])
                self.write("from", value)
                more = [] if op == "kem" else ["--ikm-bytes", len(value)]
                self.tool("keygen", "--param", param, name, "from", *more, "--ek", "ek", "--dk", "dk", "--dk-format", "seed", "--force")
                self.assertEqual(self.read("ek"), expected["ek"])
                m_bytes = {"MLKEM768-P256": 160, "MLKEM1024-P384": 80, "MLKEM768-X25519": 64}.get(param, 32)
                self.write("m", given["m"].ljust(m_bytes, b"\0"))
                self.encaps("--m", "m", "--force", param=param)
                self.assertEqual((self.read("c"), self.read("K")), (expected["c"], expected["K"]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
