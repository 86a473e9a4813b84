#!/usr/bin/env python3
"""The code that the README and the headers show compiles as it stands there, and does what it says: each block becomes a
function of a program, or is one. Set by ctest: CC, CXX, WARPKEM_LIBRARY (the shared one)."""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "include"
# What the blocks leave to their reader.
BEFORE = {"c": """#include <stdio.h>
#include <string.h>
#include <warpkem/keyfile.h>
#include <warpkem/warpkem.h>
#define IN(a) ((warpkem_in){a[0], sizeof a, 0})
#define OUT(a) ((warpkem_out){a[0], sizeof a, 0})
""", "cpp": """#include <algorithm>
#include <iostream>
#include <warpkem/warpkem.hpp>
"""}
COMPILERS = {"c": ["CC", "-std=c99"], "cpp": ["CXX", "-std=c++20"]}


def blocks():
    """(where, language, text) of every block of C and C++."""
    for path in [ROOT / "README.md", *sorted(ROOT.glob("*/README.md")), *sorted(ROOT.glob("*/*/README.md"))]:
        for language, text in re.findall(r"^```(c|cpp)\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE):
            yield path.relative_to(ROOT), language, text
    for path in sorted(INCLUDE.glob("warpkem/*.h*")):
        for language, text in re.findall(r"@code\{\.(c|cpp)\}\n(.*?)@endcode", path.read_text(), re.DOTALL):
            yield path.relative_to(ROOT), language, re.sub(r"^ ?(\*|//) ?", "", text, flags=re.MULTILINE)


class Examples(unittest.TestCase):
    def run_all(self, language):
        own = [(where, text) for where, of, text in blocks() if of == language]
        with tempfile.TemporaryDirectory(prefix="warpkem-examples-") as folder:
            source, program = pathlib.Path(folder) / f"examples.{language}", pathlib.Path(folder) / "examples"
            library = pathlib.Path(os.environ["WARPKEM_LIBRARY"])
            program_text, calls = BEFORE[language], ""
            for i, (where, text) in enumerate(own):
                if "int main()" in text:
                    text = text.replace("int main()", f"static int example_{i}()", 1)
                else:
                    text = f"static int example_{i}(void) {{\n{text}return 0;\n}}\n"
                program_text += f'#line 1 "{where}"\n{text}'
                calls += f'  if (example_{i}() != 0) return {i + 1};\n'
            source.write_text(program_text + f"int main(void) {{\n{calls}  return 0;\n}}\n")
            compiler, standard = COMPILERS[language]
            subprocess.run([*os.environ[compiler].split(), standard, "-O0", "-Wall", "-Wextra", "-Werror", f"-I{INCLUDE}", source, "-o",
                            program, library, f"-Wl,-rpath,{library.parent}"], check=True)
            done = subprocess.run([program], check=False, stdout=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, 0, own[done.returncode - 1][0] if done.returncode in range(1, len(own) + 1) else done)
            return len(own), done.stdout

    def test_c(self):
        count, text = self.run_all("c")
        self.assertGreaterEqual(count, 4)
        self.assertIn("item 17: a coefficient of ek is not below q", text)

    def test_cpp(self):
        self.assertGreaterEqual(self.run_all("cpp")[0], 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
