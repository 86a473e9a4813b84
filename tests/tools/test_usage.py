#!/usr/bin/env python3
"""What the tool says to somebody who does not know it: help, mistakes on the command line, and why something cannot start.
WARPKEM_TOOL is the executable."""
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import unittest

from tool_case import P, SANITIZED, TOOL, ToolTest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMANDS = ("keygen", "encaps", "decaps", "check", "import", "export", "inspect", "completion", "info", "selftest", "bench", "serve-bench")
STATUSES = re.findall(r"^#define (WARPKEM_\w+) (\d+)u",
                      re.search(r"typedef uint32_t warpkem_status;.*?(?=/\* How a decapsulation key)",
                                (ROOT / "include/warpkem/warpkem.h").read_text(), re.DOTALL)[0], re.MULTILINE)


class UsageTest(ToolTest):
    def tool(self, *arguments, **options):
        done = super().tool(*arguments, **options)
        done.stdout = done.stdout.decode()
        return done

    def refused(self, arguments, words, **options):
        """The first line of standard error, which has all words, whole."""
        done = self.tool(*arguments, rc=1, **options)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\Awarpkem[^\n]*: ")
        line = done.stderr.splitlines()[0]
        for word in words:
            self.assertRegex(line, rf"(?<![\w-]){re.escape(word)}(?![\w-])")
        self.assertEqual(os.listdir(self.dir), [])
        return line


class Help(UsageTest):
    def test_is_found_wherever_it_is_looked_for(self):
        general = self.tool("--help").stdout
        self.assertTrue(general.startswith("Usage: warpkem "), general)
        for words in ["-h"], ["help"], ["help", "help"], ["help", "--help"], ["--help", "help"]:
            self.assertEqual(self.tool(*words).stdout, general, words)
        for command in COMMANDS:
            self.assertRegex(general, rf"(?m)^  {command} ")
            own = self.tool(command, "--help").stdout
            self.assertIn(f"Usage: warpkem {command}", own)
            for words in ([command, "-h"], ["help", command], ["--help", command], ["-h", command],
                          [command, "--param", "nonsense", "--help"], [command, "--frobnicate", "-h"]):
                self.assertEqual(self.tool(*words).stdout, own, words)

    def test_says_all_that_a_command_takes(self):
        for command in COMMANDS:
            text = self.tool("help", command).stdout
            self.assertNotIn("Option Group", text)
            self.assertIn("Exit status", text)
            for option in re.findall(r"(?m)^  (--[\w-]+)", text):
                # What is listed is known: alone it may lack a value or company, but has a name.
                done = subprocess.run([TOOL, command, option], capture_output=True, text=True, cwd=self.dir) \
                    if command not in ("info", "selftest", "bench", "serve-bench") else None
                if done:
                    self.assertNotIn("unknown option", done.stderr)
        usage = " ".join(self.tool("help", "keygen").stdout.split("\n\n")[0].split())
        for part in "--param P", "(--count N | --seeds FILE | --hpke-ikm FILE)", "--ek FILE", "--dk FILE":
            self.assertIn(part, usage)

    def words_of(self, text):
        return text.replace("\r", "").split()

    def in_terminal(self, columns, *arguments):
        return self.on_terminal(*arguments, columns=columns)[0].decode().replace("\r", "")

    def test_lines_end_between_words_and_fit(self):
        for command in [], *([c] for c in COMMANDS):
            texts = {80: self.tool(*command, "--help", env={k: v for k, v in os.environ.items() if k != "COLUMNS"}).stdout}
            whole = self.words_of(texts[80])
            for width in 40, 60, 100:
                texts[width] = self.tool(*command, "--help", env=dict(os.environ, COLUMNS=str(width))).stdout
            for width in 33, 80, 117:
                texts[width] = self.in_terminal(width, *command, "--help")
            for width, text in texts.items():
                with self.subTest(command=command, width=width):
                    self.assertEqual(self.words_of(text), whole)
                    for line in text.splitlines():
                        self.assertEqual(line, line.rstrip())
                        # A word, or an option with its value, that is longer than the line stands alone.
                        if len(line) > width:
                            self.assertLessEqual(len(line.split()), 3, line)
                        if width >= 60:
                            self.assertLessEqual(len(line), width, line)

    def test_info_fits_a_terminal_too(self):
        for line in self.in_terminal(80, "info").splitlines():
            if len(line.split()) > 1:  # a word that is too long, such as a path, stands alone
                self.assertLessEqual(len(line), 80, line)

    def test_numbers_of_statuses_are_explained(self):
        self.assertGreaterEqual(len(STATUSES), 16)
        report = json.loads(self.tool("info", "--json").stdout)["statuses"]
        self.assertEqual([(s["name"], str(s["status"])) for s in report], STATUSES)
        for status in report:
            self.assertGreater(len(status["meaning"]), 8)
        text = self.tool("info").stdout
        for name, number in STATUSES:
            self.assertRegex(text, rf"(?m)^ *{number} +{name} +\S")
        for command in "keygen", "encaps", "decaps", "check":
            self.assertRegex(self.tool("help", command).stdout, r"(?m)^  3 +WARPKEM_INVALID_EK: \S")


class Completion(UsageTest):
    def test_bash(self):
        script = self.tool("completion", "--shell", "bash").stdout
        (self.dir / "keys.pem").write_bytes(b"")
        (self.dir / "script").write_text(script + """
t() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _warpkem; echo "${COMPREPLY[*]}"; }
t warpkem ke
t warpkem encaps --par
t warpkem decaps --param ML-KEM-7
t warpkem keygen --private-form ""
t warpkem import --in ke
t warpkem --param 768 exp
t warpkem help ins
t warpkem encaps --in
""")
        done = subprocess.run(["bash", "script"], cwd=self.dir, check=True, stdout=subprocess.PIPE, text=True)
        self.assertEqual(done.stdout.splitlines(), ["keygen", "--param", "ML-KEM-768", "seed expanded both", "keys.pem", "export",
                                                    "inspect", ""])
        for command in COMMANDS:
            own = self.tool(command, "--help").stdout
            line = re.search(rf"(?m)^ +{command}\) options='([^']*)'", script)[1].split()
            self.assertEqual(set(line), set(re.findall(r"(?m)^  (--[\w-]+)", own)) | {"--help"}, command)

    def test_other_shells(self):
        for shell, check in ("zsh", ["zsh", "-n"]), ("fish", ["fish", "--no-execute"]):
            script = self.tool("completion", "--shell", shell).stdout
            self.assertIn("keygen", script)
            if shutil.which(shell):
                (self.dir / "script").write_text(script)
                subprocess.run([*check, "script"], cwd=self.dir, check=True)
                os.remove(self.dir / "script")
        self.refused(["completion", "--shell", "csh"], ["bash", "zsh", "fish"])


class Mistakes(UsageTest):
    FILES = ["--ek", "a", "--dk", "b"]

    def test_an_unknown_option_is_named_before_anything_else(self):
        for arguments, words in (
                (["keygen", "--params", P], ["'--params'", "--param"]),
                (["keygen", "--params=768"], ["'--params'", "--param"]),
                (["keygen", "-param", "768"], ["'-param'", "--param"]),
                (["keygen", "--dkformat", "seed", "--count", "x"], ["'--dkformat'", "--dk-format"]),
                (["keygen", "--param", "nonsense", "--cuont", 3, *self.FILES], ["'--cuont'", "--count"]),
                (["encaps", "--shared", "K"], ["'--shared'", "--shared-secret"]),
                (["encaps", "--pk", "K"], ["'--pk'", "--ek"]),
                (["decaps", "--secret-key", "K"], ["'--secret-key'", "--dk"]),
                (["decaps", "--cipher-text", "K"], ["'--cipher-text'", "--ciphertext"]),
                (["check", "--count", 3], ["'--count'", "keygen"]),
                (["info", "--jsn"], ["'--jsn'", "--json"]),
                (["bench", "--ops", "encaps"], ["'--ops'", "--op"]),
                (["serve-bench", "--mix", "encaps:768=1"], ["'--mix'", "--op-mix"]),
                (["keygen", "-x", "--param", P], ["'-x'"]),
                (["keygen", "--frob", "--nicate", "stray"], ["'--frob'", "'--nicate'"]),
                (["--params", P, "keygen"], ["'--params'"]),
                (["--frobnicate"], ["'--frobnicate'", "keygen"])):
            with self.subTest(arguments):
                line = self.refused(arguments, ["unknown option", *words])
                self.assertNotIn("FILE", line)

    def test_commands(self):
        for arguments, words in (([], ["command", *COMMANDS]), (["keygne"], ["'keygne'", "keygen", "decaps"]),
                                 (["help", "encap"], ["'encap'", "encaps"]), (["version"], ["'version'", "info"]),
                                 (["--", "keygen", "x"], ["'x'"])):
            with self.subTest(arguments):
                self.refused(arguments, words)
        done = self.tool("keygen", "stray", *self.FILES, "--param", P, rc=1)
        self.assertIn("'stray'", done.stderr)
        self.assertIn("warpkem keygen --help", done.stderr)

    def test_options_may_stand_before_the_command(self):
        self.assertIn("backends", json.loads(self.tool("--json", "info").stdout))
        self.assertIn("version", json.loads(self.tool("info", "--json").stdout))
        self.tool("--param", "768", "--count=2", "keygen", "--ek=ek", "--dk", "dk")
        self.assertEqual((self.dir / "ek").stat().st_size, 2 * 1184)
        version = self.tool("--version").stdout
        self.assertEqual(self.tool("keygen", "--version").stdout, version)

    def test_what_is_missing_is_listed_whole(self):
        self.refused(["keygen"], ["--param P", "--ek FILE", "--dk FILE", "--count N or --seeds FILE"])
        self.refused(["encaps", "--param", P, "--ek", "x"], ["--ciphertext FILE", "--shared-secret FILE"])
        self.refused(["check", "--param", P], ["--ek FILE or --dk FILE"])

    def test_values(self):
        count = ["keygen", "--param", P, *self.FILES, "--count"]
        for arguments, words in (
                (count, ["--count", "N"]), ([*count, "--json"], ["--count", "'--json'"]), ([*count, "-1"], ["--count", "'-1'"]),
                ([*count, 1, "--json=yes"], ["--json"]), ([*count, 1, "--ek", "c"], ["--ek", "more than once"]),
                ([*count, 1, "--seeds", "s"], ["--count", "--seeds"]),
                (["keygen", "--param", P, "--count=1", "--dk=b", "--ek=", "c"], ["--ek", "''"]),
                (["keygen", "--param", P, "--count=1", "--ek", "--dk", "b"], ["--ek", "'--dk'", "--ek=--dk"]),
                (["check", "", "--param", P, "--ek", "x"], ["''"]), (["check", "++", "--ek", "x", ""], ["--ek"]),
                (["bench", "--seconds", "0"], ["--seconds"]), (["bench", "--seconds", "nan"], ["--seconds"]),
                (["bench", "--seconds", "3601"], ["--seconds", "3600"])):
            with self.subTest(arguments):
                self.refused(arguments, words)

    def test_numbers_of_serve_bench(self):
        for arguments, words in (
                (["--op-mix", "encaps:768=inf"], ["encaps:768=inf"]),
                (["--op-mix", "encaps:768=nan"], ["encaps:768=nan"]), (["--op-mix", "encaps:768=1,"], ["--op-mix"]),
                (["--rate", "inf"], ["--rate"]), (["--rate", "-1"], ["--rate"]), (["--seconds", "nan"], ["--seconds"]),
                (["--drawn", "1.01"], ["--drawn", "1"]), (["--bulk", "2"], ["--bulk"]), (["--sentinel", "-1"], ["--sentinel"]),
                (["--max-delay", 0], ["--max-delay"]), (["--producers", 0], ["--producers"])):
            with self.subTest(arguments):
                self.refused(["serve-bench", "--requests", 1, *arguments], words)

    def test_a_parameter_set_has_the_same_names_everywhere(self):
        seeds = self.dir / "seeds"
        for number, ek_bytes in (512, 800), (768, 1184), (1024, 1568):
            for name in (number, f"ML-KEM-{number}", f"ml-kem-{number}", f"mlkem{number}", f"MLKEM{number}", f"ML_KEM_{number}",
                         f"ml-kem_{number}"):
                with self.subTest(name):
                    seeds.write_bytes(os.urandom(64))
                    self.tool("keygen", "--param", name, "--seeds", "seeds", "--ek", "ek", "--dk", "/dev/null")
                    self.assertEqual((self.dir / "ek").stat().st_size, ek_bytes)
                    self.tool("check", "--param", name, "--ek", "ek")
                    self.tool("encaps", "--param", name, "--ek", "ek", "--ciphertext", "c", "--shared-secret", "/dev/null")
                    (self.dir / "ek").unlink()
                    self.tool("serve-bench", "--op-mix", f"encaps:{name}=1", "--requests", 10)
            done = self.tool("bench", "--op", "keygen", "--param", number, "--backend", "portable", "--batch", 1,
                             "--seconds", 0.001)
            self.assertIn(f"keygen/ML-KEM-{number}/", done.stdout)
        for command in ["keygen", "--count", 1, *self.FILES], ["bench"]:
            done = self.tool(*command, "--param", "769", rc=1)
            for word in "'769'", "ML-KEM-512", "768", "OID":
                self.assertIn(word, done.stderr)


class WhatIsToBlame(UsageTest):
    def test_a_backend_of_the_environment_is_named(self):
        keygen = ["keygen", "--param", P, "--count", 1, "--ek", "a", "--dk", "b"]
        for name in "abacus", "Portable":
            environment = dict(os.environ, WARPKEM_BACKEND=name)
            for command in keygen, ["info"], ["selftest"], ["bench", "--seconds", "0.001"], ["serve-bench", "--requests", 1]:
                with self.subTest(command=command, name=name):
                    self.refused(command, ["WARPKEM_BACKEND", name, "portable"], env=environment)
            # What the command line says comes first, and is to blame alone.
            line = self.refused([*keygen, "--backend", "counter"], ["--backend", "counter", "portable"], env=environment)
            self.assertNotIn("WARPKEM_BACKEND", line)
        for absent in [b["name"] for b in json.loads(self.tool("info", "--json").stdout)["backends"] if not b["available"]]:
            for command in keygen, ["serve-bench", "--requests", 1]:
                self.refused(command, ["WARPKEM_BACKEND", absent], env=dict(os.environ, WARPKEM_BACKEND=absent))
                line = self.refused([*command, "--backend", absent], ["--backend", absent])
                self.assertNotIn("WARPKEM_BACKEND", line)
        self.tool("info", env=dict(os.environ, WARPKEM_BACKEND=""))  # as if it were not set
        self.refused(["serve-bench", "--backend", "counter"], ["--backend", "counter", "portable"])
        self.assertNotIn("WARPKEM_BACKEND", self.refused(["bench", "--backend", "counter"], ["--backend", "counter"]))

    def without_threads(self):
        # The default stack of a thread is larger than an address space.
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 46, resource.getrlimit(resource.RLIMIT_STACK)[1]))

    @unittest.skipIf(resource.getrlimit(resource.RLIMIT_STACK)[1] not in (resource.RLIM_INFINITY, -1),
                     "the limit of the stack cannot be raised here")
    def test_a_thread_that_cannot_be_started(self):
        line = self.refused(["keygen", "--param", P, "--count", 1, "--ek", "a", "--dk", "b"],
                            ["thread", "signals", "Resource temporarily unavailable"], preexec_fn=self.without_threads)
        self.assertIn("ulimit", line)

    @unittest.skipIf(SANITIZED, "a sanitizer takes the address space")
    def test_too_many_producers(self):
        def little_memory():
            resource.setrlimit(resource.RLIMIT_STACK, (64 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]))
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

        self.refused(["serve-bench", "--backend", "portable", "--producers", 1000, "--seconds", 30, "--outstanding", 1],
                     ["thread", "--producers 1000", "Resource temporarily unavailable"], preexec_fn=little_memory)


if __name__ == "__main__":
    unittest.main(verbosity=2)
