#!/usr/bin/env python3
"""The folders are the architecture: tests that #include lines point only downwards."""
import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SUFFIXES = {".h", ".hpp", ".c", ".cpp", ".cu", ".cuh"}

# A layer: the files that belong to it, and what of ours they may include. The first layer that matches a file counts.
# Paths are as in the tree; "include/warpkem/x" is written "warpkem/x" where it is included.
PUBLIC = r"warpkem/[\w.]+"
LEAF = r"warpkem/params\.hpp"
BASICS = r"host/(batch|operation|algorithms|status|ct|secure)\.hpp"
LAYERS = [
    ("public headers", r"include/", [PUBLIC]),
    ("registry", r"host/backends/registry\.cpp", [r"host/backends/.*", r"host/[\w]+\.hpp"]),
    ("self-test", r"host/selftest\.cpp", [PUBLIC, r"host/[\w]+\.hpp", r"host/backends/portable/portable\.hpp"]),
    ("backend cuda", r"host/backends/cuda/", [PUBLIC, BASICS, r"host/(gate|signals)\.hpp", r"host/backends/backend\.hpp",
                                               r"host/backends/cuda/.*", r"kernels/(launch|field|tables)\.hpp"]),
    ("backend", r"host/backends/(?P<own>\w+)/", [LEAF, BASICS, r"host/backends/(backend|cpu_kernels)\.hpp",
                                                  r"host/backends/({own}|simd)/.*", r"kernels/(field|tables)\.hpp"]),
    ("what backends share", r"host/backends/[\w.]+$", [PUBLIC, r"host/[\w]+\.hpp", r"host/backends/\w+\.hpp"]),
    ("provider", r"host/provider/", [PUBLIC, r"host/provider/.*"]),
    ("engine", r"host/", [PUBLIC, r"host/[\w]+\.hpp", r"host/api/.*", r"host/backends/(backend|registry)\.hpp"]),
    ("kernels", r"kernels/", [LEAF, r"kernels/.*"]),
    ("serve-bench", r"tools/warpkem/(scripted_backend|serve_\w+)\.[ch]pp", [PUBLIC, r"host/.*", r"tools/warpkem/.*"]),
    ("tool", r"tools/warpkem/", [PUBLIC, r"tools/warpkem/.*"]),
    ("examples", r"tools/examples/", [PUBLIC, r"tools/examples/.*"]),
]
CUDA_HEADERS = r"(cuda|cub/|thrust/|nvtx|curand|cooperative_groups)"
CUDA_FILES = r"(kernels/|host/backends/cuda/|tests/|bench/)"


def includes(text):
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if match:
            yield number, match[1], match[2]


def violations(path, text, exists):
    """What is wrong with the includes of one file; `exists` tells whether a path is in the tree."""
    layer = next(((name, re.match(pattern, path), allowed) for name, pattern, allowed in LAYERS
                  if re.match(pattern, path)), None)
    folder = path.rsplit("/", 1)[0]
    for number, kind, target in includes(text):
        if kind == "<" and re.match(CUDA_HEADERS, target) and not re.match(CUDA_FILES, path):
            yield f"{path}:{number}: only the kernels and their backend include CUDA headers: <{target}>"
        if kind == '"' and exists(f"{folder}/{target}"):
            target = f"{folder}/{target}"
        target = target.removeprefix("include/")
        ours = re.match(r"(warpkem|host|kernels|bench|tests|kat|tools)/", target)
        if layer is None or not ours:
            continue
        name, match, allowed = layer
        rules = [rule.format(**match.groupdict()) if "{own}" in rule else rule for rule in allowed]
        if not any(re.fullmatch(rule, target) for rule in rules):
            yield f"{path}:{number}: {name} may not include {target}"
        if re.match(r"host/backends/cuda/", path) and target.endswith(".cuh"):
            yield f"{path}:{number}: device code is reached through kernels/launch.hpp only"


class Layers(unittest.TestCase):
    def test_tree_points_downwards(self):
        try:
            listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                                    stdout=subprocess.PIPE, text=True).stdout.splitlines()
        except (OSError, subprocess.CalledProcessError):
            listed = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if "build" not in p.parts]
        files = [p for p in listed if pathlib.PurePath(p).suffix in SUFFIXES and (ROOT / p).is_file()]
        self.assertGreater(len(files), 10)
        found = [v for p in files
                 for v in violations(p, (ROOT / p).read_text(errors="replace"), lambda q: (ROOT / q).exists())]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_a_planted_include_is_found(self):
        def found(path, line):
            return list(violations(path, line + "\n", lambda q: False))

        self.assertTrue(found("include/warpkem/warpkem.h", '#include "host/engine.hpp"'))
        self.assertTrue(found("host/engine.cpp", '#include "host/backends/avx2/avx2.hpp"'))
        self.assertTrue(found("host/engine.cpp", "#include <cuda_runtime.h>"))
        self.assertTrue(found("host/backends/avx2/avx2.cpp", '#include "host/backends/portable/portable.hpp"'))
        self.assertTrue(found("host/backends/avx2/avx2.cpp", '#include "host/engine.hpp"'))
        self.assertTrue(found("host/backends/cuda/cuda.cpp", '#include "kernels/keccak.cuh"'))
        self.assertTrue(found("kernels/field.hpp", '#include "host/batch.hpp"'))
        self.assertTrue(found("tools/warpkem/io.cpp", '#include "host/secure.hpp"'))
        self.assertFalse(found("host/backends/avx2/avx2.cpp", '#include "host/backends/avx2/ntt.hpp"'))
        self.assertFalse(found("host/api/c_api.cpp", "#include <warpkem/warpkem.h>"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
