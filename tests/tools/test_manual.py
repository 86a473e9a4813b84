#!/usr/bin/env python3
"""Manual pages: well-formed, and with everything that the help has. WARPKEM_TOOL is the executable."""
import re
import shutil
import subprocess
import unittest

from tool_case import TOOL, ToolTest

FORMATTERS = {"man": ["man", "--warnings", "-E", "UTF-8", "-l"], "groff": ["groff", "-man", "-Tutf8", "-ww"],
              "mandoc": ["mandoc", "-T", "lint", "-W", "error"]}


def help_of(*words):
    return subprocess.run([TOOL, "help", *words], check=True, text=True, stdout=subprocess.PIPE, env={"COLUMNS": "9999"}).stdout


class Manual(ToolTest):
    def setUp(self):
        super().setUp()
        subprocess.run([TOOL, "manual", "--folder", self.dir / "new" / "man1"], check=True)
        self.pages = {path.name: path for path in (self.dir / "new" / "man1").iterdir()}

    def commands(self):
        listed = help_of().split("Commands:\n")[1].split("\n\n")[0]
        return [line.split()[0] for line in listed.splitlines() if re.match(r"  \S", line) and line.split()[0] != "help"]

    def test_each_command_has_a_page(self):
        self.assertEqual(set(self.pages), {"warpkem.1"} | {f"warpkem-{name}.1" for name in self.commands()})

    def test_formatters_have_nothing_to_say(self):
        present = [words for name, words in FORMATTERS.items() if shutil.which(name)]
        if not present:
            self.skipTest(f"none of {', '.join(FORMATTERS)}")
        for words in present:
            for name, path in self.pages.items():
                with self.subTest(formatter=words[0], page=name):
                    done = subprocess.run([*words, path], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                          env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80"})
                    self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_a_page_says_what_the_help_says(self):
        """Word for word, but for the layout."""
        if not shutil.which("man"):
            self.skipTest("no man")
        for name in self.commands():
            shown = subprocess.run(["man", "-E", "UTF-8", "-l", self.pages[f"warpkem-{name}.1"]], check=True, text=True,
                                   stdout=subprocess.PIPE, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "999"}).stdout
            words = re.sub(".\b", "", shown).split()
            for line in help_of(name).splitlines():
                for word in line.removeprefix("Exit status:").split():
                    with self.subTest(command=name, word=word):
                        self.assertTrue(any(word.strip(".;:,") in one for one in words) or word in "Usage: Options:")


if __name__ == "__main__":
    unittest.main(verbosity=2)
