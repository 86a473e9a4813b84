#!/usr/bin/env python3
"""warpkem acvp against NIST's published prompts and expected results, on every backend of the machine."""
import json
import os
import pathlib
import subprocess
import unittest

from tool_case import TOOL, ToolTest

FOLDERS = sorted(path.parent for path in (pathlib.Path(os.environ.get("WARPKEM_KAT_DIR", "")) / "acvp").glob("*/*/prompt.json"))


def backends():
    report = json.loads(subprocess.run([TOOL, "info", "--json"], check=True, stdout=subprocess.PIPE).stdout)
    return [one["name"] for one in report["backends"] if one["available"]]


def cases(vectors):
    """The answers by their numbers, hex digits of one case."""
    return {(group["tgId"], test["tcId"]): {name: value.upper() if isinstance(value, str) else value
                                            for name, value in test.items()}
            for group in vectors["testGroups"] for test in group["tests"]}


class Acvp(ToolTest):
    def answer(self, prompt, *options):
        path, out = self.dir / "prompt.json", self.dir / "response.json"
        path.write_text(prompt if isinstance(prompt, str) else json.dumps(prompt))
        done = subprocess.run([TOOL, "acvp", path, "--out", out, *options], text=True, stderr=subprocess.PIPE)
        return done, json.loads(out.read_text()) if done.returncode == 0 else None

    @unittest.skipUnless(FOLDERS, "no prompts of ACVP (WARPKEM_KAT_DIR)")
    def test_published_prompts(self):
        modes = set()
        for folder in FOLDERS:
            prompt, expected = (json.loads((folder / f"{name}.json").read_text()) for name in ("prompt", "expectedResults"))
            modes.add(prompt["mode"])
            for backend in backends():
                with self.subTest(folder=folder.name, backend=backend):
                    done, response = self.answer(prompt, "--backend", backend)
                    self.assertEqual((done.returncode, done.stderr), (0, ""))
                    self.assertEqual({name: response[name] for name in ("vsId", "algorithm", "mode", "revision")},
                                     {name: prompt[name] for name in ("vsId", "algorithm", "mode", "revision")})
                    self.assertEqual(cases(response), cases(expected))
        self.assertEqual(modes, {"keyGen", "encapDecap"})

    def prompt(self, function="encapsulationKeyCheck", **test):
        return {"vsId": 1, "algorithm": "ML-KEM", "mode": "encapDecap", "revision": "FIPS203", "testGroups": [
            {"tgId": 1, "testType": "VAL", "parameterSet": "ML-KEM-512", "function": function, "tests": [{"tcId": 7, **test}]}]}

    def test_a_key_of_the_wrong_length_fails_its_check(self):
        for ek, good in (("00" * 800, True), ("00" * 799, False), ("00" * 801, False), ("FF" * 800, False), ("", False)):
            with self.subTest(length=len(ek) // 2):
                _, response = self.answer(self.prompt(ek=ek))
                self.assertEqual(response["testGroups"], [{"tgId": 1, "tests": [{"tcId": 7, "testPassed": good}]}])

    def test_what_a_server_sends_is_an_array(self):
        _, response = self.answer([{"acvVersion": "1.0"}, self.prompt(ek="00" * 800)])
        self.assertEqual(response[0], {"acvVersion": "1.0"})
        self.assertTrue(response[1]["testGroups"][0]["tests"][0]["testPassed"])

    def test_what_is_wrong_is_told_and_nothing_is_written(self):
        wrong = {**self.prompt(ek="00" * 800), "algorithm": "ML-DSA"}
        for prompt, text in (("{", "no prompt of ACVP"), ({}, "no prompt of ACVP"), (wrong, "ML-DSA"),
                             (self.prompt("sign", ek=""), "function 'sign'"), (self.prompt(ek="0g" * 800), "hexadecimal"),
                             (self.prompt("encapsulation", ek="00" * 800, m="00"), "m has 1 bytes in place of 32"),
                             ({**self.prompt(), "testGroups": [{**self.prompt()["testGroups"][0], "tests": []}]}, "without tests"),
                             ([], "no vector set"), ("[5]", "no vector set"), ("[" * 10**6 + "]" * 10**6, "levels of JSON"),
                             (self.prompt("encapsulation", ek="FF" * 800, m="00" * 32), "a coefficient of ek is not below q")):
            with self.subTest(text):
                done, _ = self.answer(prompt)
                self.assertEqual(done.returncode, 1)
                self.assertIn(text, done.stderr)
                self.assertFalse((self.dir / "response.json").exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
