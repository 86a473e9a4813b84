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
DEVICE_CONSTANTS = r"kernels/(field|tables)\.hpp"
# What files that are compiled with -m flags may share with others: nothing that the linker merges.
BASICS = r"host/core/(batch|status|ct|secure)\.hpp"
CORE = r"host/core/\w+\.hpp"
BACKEND = r"host/backends/backend\.hpp"
ENGINE = r"host/engine/\w+\.hpp"
SERVING = r"host/serving/\w+\.hpp"
LAYERS = [
    ("public headers", r"include/", [PUBLIC]),
    # The floors of host/, from the ground up.
    ("core", r"host/core/", [LEAF, CORE]),
    ("registry", r"host/backends/registry\.cpp", [CORE, r"host/backends/.*"]),
    ("backend cuda", r"host/backends/cuda/", [LEAF, CORE, BACKEND, DEVICE_CONSTANTS, r"warpkem/version\.h",
                                               r"host/backends/cuda/.*", r"kernels/launch\.hpp"]),
    ("groups of hybrids", r"host/backends/curve/\w*group\.[ch]pp", [LEAF, CORE, r"host/backends/curve/.*"]),
    ("hybrids", r"host/backends/hybrid/", [LEAF, CORE, r"host/backends/(backend|cpu_kernels|workspaces)\.hpp",
                                           r"host/backends/curve/(group|x25519)\.hpp", r"host/backends/hybrid/.*"]),
    ("backend", r"host/backends/(?P<own>\w+)/", [LEAF, BASICS, BACKEND, r"host/backends/cpu_kernels\.hpp",
                                                  r"host/backends/{own}/.*", DEVICE_CONSTANTS]),
    ("what backends share", r"host/backends/[\w.]+$", [CORE, r"host/backends/\w+\.hpp"]),
    ("self-test", r"host/engine/selftest\.cpp", [CORE, BACKEND, ENGINE, r"host/backends/portable/portable\.hpp"]),
    ("engine", r"host/engine/", [CORE, BACKEND, r"host/backends/(cpu_kernels|registry)\.hpp", ENGINE]),
    ("serving", r"host/serving/", [CORE, BACKEND, ENGINE, SERVING]),
    ("api", r"host/api/", [PUBLIC, CORE, BACKEND, ENGINE, SERVING, r"host/api/.*"]),
    ("provider", r"host/provider/", [PUBLIC, r"host/provider/.*"]),
    ("host outside its floors", r"host/", []),
    ("kernels", r"kernels/", [LEAF, r"kernels/.*"]),
    ("tool", r"tools/warpkem/", [PUBLIC, r"tools/warpkem/.*"]),
    ("examples", r"tools/examples/", [PUBLIC, r"tools/examples/.*"]),
]
CUDA_HEADERS = r"(cuda|cub/|thrust/|nvtx|curand|cooperative_groups)"
CUDA_FILES = r"(kernels/|host/backends/cuda/|tests/|bench/|tools/examples/.*\.cu$)"


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
            yield f"{path}:{number}: only the kernels, their backend and examples for CUDA include CUDA headers: <{target}>"
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


def tree():
    """The sources that git knows or would add, by path."""
    try:
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                                stdout=subprocess.PIPE, text=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        listed = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if "build" not in p.parts]
    return {p: (ROOT / p).read_text(errors="replace") for p in listed
            if pathlib.PurePath(p).suffix in SUFFIXES and (ROOT / p).is_file()}


def unit(path):
    """A header and its source are one: "host/engine/engine"."""
    return path.rsplit(".", 1)[0]


def circles(files):
    """Sets of units that include one another, of {path: text}."""
    graph = {unit(p): set() for p in files}
    for path, text in files.items():
        folder = path.rsplit("/", 1)[0]
        for _, kind, target in includes(text):
            for candidate in (f"{folder}/{target}", target, f"include/{target}"):
                if candidate in files:
                    graph[unit(path)].add(unit(candidate))
                    break
    # Tarjan's strongly connected components, without recursion.
    number, low, on_stack, stack, found = {}, {}, set(), [], []
    for root in graph:
        if root in number:
            continue
        work = [(root, iter(sorted(graph[root])))]
        number[root] = low[root] = len(number)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in number:
                    number[target] = low[target] = len(number)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(sorted(graph[target]))))
                    break
                if target in on_stack:
                    low[node] = min(low[node], number[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    component = set()
                    while node not in component:
                        component.add(stack.pop())
                    on_stack -= component
                    if len(component) > 1:
                        found.append(component)
    return found


class Layers(unittest.TestCase):
    def test_tree_points_downwards(self):
        files = tree()
        self.assertGreater(len(files), 10)
        found = [v for p, text in files.items() for v in violations(p, text, lambda q: (ROOT / q).exists())]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_no_units_include_one_another(self):
        # Public headers do: each of a pair may be the first that a user includes.
        found = circles({p: text for p, text in tree().items() if re.match(r"(host|kernels|tools)/", p)})
        self.assertEqual(found, [], "\n" + "\n".join(" ".join(sorted(c)) for c in found))

    def test_a_planted_circle_is_found(self):
        files = {"host/core/a.hpp": "", "host/core/a.cpp": '#include "host/core/b.hpp"\n',
                 "host/core/b.hpp": '#include "c.hpp"\n', "host/core/b.cpp": "",
                 "host/core/c.hpp": "", "host/core/c.cpp": '#include "host/core/b.hpp"\n'}
        self.assertEqual(circles(files), [{"host/core/b", "host/core/c"}])
        files["host/core/c.cpp"] = '#include "host/core/a.hpp"\n'
        self.assertEqual(circles(files), [{"host/core/a", "host/core/b", "host/core/c"}])
        files["host/core/c.cpp"] = ""
        self.assertEqual(circles(files), [])

    def test_a_planted_include_is_found(self):
        def found(path, line):
            return list(violations(path, line + "\n", lambda q: False))

        engine, avx2 = "host/engine/engine.cpp", "host/backends/x86/avx2/avx2.cpp"
        self.assertTrue(found("include/warpkem/warpkem.h", '#include "host/engine/engine.hpp"'))
        self.assertTrue(found(engine, '#include "host/backends/x86/avx2/avx2.hpp"'))
        self.assertTrue(found(engine, '#include "host/serving/scheduler.hpp"'))
        self.assertTrue(found(engine, '#include "warpkem/warpkem.h"'))
        self.assertTrue(found(engine, "#include <cuda_runtime.h>"))
        self.assertTrue(found("host/serving/request.hpp", '#include "warpkem/async.h"'))
        self.assertTrue(found("host/serving/work.cpp", '#include "host/api/seam.hpp"'))
        self.assertTrue(found("host/core/batch.hpp", '#include "host/backends/backend.hpp"'))
        self.assertTrue(found("host/backends/cpu_backend.cpp", '#include "host/engine/key_set.hpp"'))
        self.assertTrue(found("host/backends/cuda/cuda_module.cpp", '#include "host/engine/key_set.hpp"'))
        self.assertTrue(found("host/stray.hpp", '#include "host/core/batch.hpp"'))
        self.assertTrue(found(avx2, '#include "host/backends/portable/portable.hpp"'))
        self.assertTrue(found(avx2, '#include "host/engine/engine.hpp"'))
        self.assertTrue(found("host/backends/cuda/cuda.cpp", '#include "kernels/keccak.cuh"'))
        self.assertTrue(found("kernels/field.hpp", '#include "host/core/batch.hpp"'))
        for inside in "host/core/secure.hpp", "host/serving/scheduler.hpp", "tests/support/scripted_backend.hpp":
            self.assertTrue(found("tools/warpkem/serve/load.cpp", f'#include "{inside}"'))
        self.assertFalse(found("tools/warpkem/serve/load.cpp", "#include <warpkem/async.h>"))
        self.assertFalse(found(avx2, '#include "host/backends/x86/ntt.hpp"'))
        self.assertFalse(found("host/api/batch_api.cpp", "#include <warpkem/warpkem.h>"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
