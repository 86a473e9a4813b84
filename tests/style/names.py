#!/usr/bin/env python3
"""What FIPS 203 names bears that name in every backend that computes ML-KEM, so that grep -rw finds it; constants have one style."""
import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BACKENDS = {"portable": ["host/backends/portable"], "x86": ["host/backends/x86"], "cuda": ["kernels"]}
# Algorithms 5 to 18, and what Section 4 defines.
NAMES = ["ByteEncode", "ByteDecode", "Compress", "Decompress", "SampleNTT", "SamplePolyCBD", "PRF", "G", "H", "J", "NTT", "InverseNTT",
         "MultiplyNTTs", "BaseCaseMultiply", "KeyGen", "Encrypt", "Decrypt", "KeyGen_internal", "Encaps_internal", "Decaps_internal"]
# Of x86, where a sum of products is one function, and compression one with packing.
ONLY_IN_COMMENTS = {"x86": {"MultiplyNTTs", "Compress", "Decompress"}}
SOURCES = (".c", ".cpp", ".hpp", ".h", ".cu", ".cuh")


def sources(folder):
    return [path for path in (ROOT / folder).rglob("*") if path.suffix in SOURCES]


def without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


class Names(unittest.TestCase):
    def test_every_algorithm_is_found_in_every_backend(self):
        for backend, folders in BACKENDS.items():
            text = "\n".join(path.read_text() for folder in folders for path in sources(folder))
            code = without_comments(text)
            for name in NAMES:
                with self.subTest(backend=backend, name=name):
                    if name in ONLY_IN_COMMENTS.get(backend, ()):
                        self.assertRegex(text, rf"\b{name}(_\w+)?\b")
                    else:
                        self.assertRegex(code, rf"\b{name}(<[^;(]*>)?\(")

    def test_constants_are_snake_case(self):
        listed = subprocess.run(["git", "ls-files", *(f"*{suffix}" for suffix in SOURCES)], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                                check=False).stdout.split()
        if not listed:
            self.skipTest("not a git checkout")
        for name in listed:
            found = re.findall(r"\b(?:constexpr|const|enum)\b[^=;(]*\b(k[A-Z]\w*)\b", without_comments((ROOT / name).read_text()))
            self.assertEqual(found, [], name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
