#!/usr/bin/env python3
"""What the README shows is what is built and run."""
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def snippet(path):
    text = (ROOT / path).read_text()
    body = re.search(r"^[ ]*(?://|#) begin\n(.*?)^[ ]*(?://|#) end\n", text, re.DOTALL | re.MULTILINE)[1]
    lines = body.splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines if line)
    return "\n".join(line[indent:] for line in lines)


class Readme(unittest.TestCase):
    def test_shows_the_examples_verbatim(self):
        for language, path in ("c", "tools/examples/agree.c"), ("cpp", "tools/examples/agree.cpp"), \
                ("python", "tools/python/examples/agree.py"):
            text = snippet(path)
            self.assertLessEqual(len(text.splitlines()), 10, path)
            self.assertIn(f"```{language}\n{text}\n```", README, path)

    def test_names_the_commands(self):
        for command in "tools/quickstart", "tools/test":
            self.assertRegex(README, rf"(?m)^{command}\b")
            self.assertTrue((ROOT / command).stat().st_mode & 0o100, command)
        self.assertIn("tools/test", (ROOT / ".ci/run").read_text())

    def test_links_lead_somewhere(self):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README):
            if not target.startswith("http"):
                self.assertTrue((ROOT / target).exists(), target)


if __name__ == "__main__":
    unittest.main(verbosity=2)
