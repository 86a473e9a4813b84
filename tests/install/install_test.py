#!/usr/bin/env python3
"""The library as its users get it: installs it, shared and static, into a folder, and builds and runs projects outside
the tree against it, through CMake's find_package, through pkg-config and as a subdirectory.

install_test.py SOURCE_FOLDER WORK_FOLDER (the work folder is kept, so that a second run builds only what changed)
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

SOURCE, WORK = (pathlib.Path(path).resolve() for path in sys.argv[1:3])
CONSUMER = SOURCE / "tests" / "install" / "consumer"
JOBS = str(len(os.sched_getaffinity(0)))
KINDS = {"shared": "ON", "static": "OFF"}
COMPILERS = [pair for pair in (("cc", "c++"), ("clang-14", "clang++-14")) if shutil.which(pair[1])]


def run(*words, cwd=None, env=None):
    done = subprocess.run([str(word) for word in words], cwd=cwd, env={**os.environ, **(env or {})}, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))}\n{done.stdout[-6000:]}")
    return done.stdout


def prefix(kind):
    return WORK / f"prefix-{kind}"


def libraries(kind):
    """The folder with the installed library in it."""
    return next(prefix(kind).rglob("libwarpkem.so" if kind == "shared" else "libwarpkem.a")).parent


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for kind, shared in KINDS.items():
            shutil.rmtree(prefix(kind), ignore_errors=True)
            run("cmake", "-S", SOURCE, "-B", WORK / kind, f"-DBUILD_SHARED_LIBS={shared}", "-DWARPKEM_TOOLS=OFF",
                "-DWARPKEM_CUDA=OFF", "-DWARPKEM_WERROR=ON", f"-DCMAKE_INSTALL_PREFIX={prefix(kind)}")
            run("cmake", "--build", WORK / kind, "--parallel", JOBS)
            run("cmake", "--install", WORK / kind)

    def consume(self, name, *options, languages="C;CXX"):
        folder = WORK / name
        shutil.rmtree(folder, ignore_errors=True)
        run("cmake", "-S", CONSUMER, "-B", folder, f"-DCONSUMER_LANGUAGES={languages}", *options)
        run("cmake", "--build", folder, "--parallel", JOBS)
        report = run("ctest", "--test-dir", folder, "--output-on-failure")
        self.assertIn(f"out of {1 + languages.count(';')}", report)

    def test_find_package(self):
        for kind in KINDS:
            with self.subTest(kind=kind):
                self.consume(f"find-package-{kind}", "-DWITH=find_package", f"-DCMAKE_PREFIX_PATH={prefix(kind)}")

    def test_find_package_in_a_project_of_c_alone(self):
        for kind in KINDS:
            with self.subTest(kind=kind):
                self.consume(f"find-package-c-{kind}", "-DWITH=find_package", f"-DCMAKE_PREFIX_PATH={prefix(kind)}",
                             languages="C")

    def test_find_package_checks_the_version(self):
        folder = WORK / "wrong-version"
        folder.mkdir(exist_ok=True)
        (folder / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.25)\nproject(x LANGUAGES C CXX)\n"
                                               "find_package(warpkem 99.0 REQUIRED)\n")
        with self.assertRaisesRegex(AssertionError, "99.0"):
            run("cmake", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={prefix('shared')}")

    def test_pkg_config(self):
        for kind in KINDS:
            env = {"PKG_CONFIG_PATH": str(libraries(kind) / "pkgconfig")}
            flags = run("pkg-config", "--cflags", "--libs", "warpkem", env=env).split()
            for compiler, source, standard in (("cc", "consumer.c", "c99"), ("c++", "consumer.cpp", "c++20")):
                with self.subTest(kind=kind, source=source):
                    program = WORK / f"pkg-config-{kind}-{source}.out"
                    run(compiler, f"-std={standard}", CONSUMER / source, "-o", program, *flags)
                    needed = run("readelf", "-d", program)
                    self.assertEqual("libwarpkem.so" in needed, kind == "shared")
                    run(program, env={"LD_LIBRARY_PATH": str(libraries(kind))})

    def test_add_subdirectory(self):
        self.consume("add-subdirectory", "-DWITH=add_subdirectory", f"-DWARPKEM_SOURCE_DIR={SOURCE}", "-DWARPKEM_CUDA=OFF")

    def test_exported_symbols_are_those_of_the_list(self):
        library = libraries("shared") / "libwarpkem.so"
        exported = set()
        for line in run("nm", "--dynamic", "--defined-only", library).splitlines():
            name = line.split()[-1].split("@")[0]
            if line.split()[-2] != "A":  # the name of the version itself
                exported.add(name)
        listed = set((SOURCE / "tests/install/symbols.txt").read_text().split())
        self.assertEqual(exported, listed, "the library exports other symbols than tests/install/symbols.txt lists")
        declared = set(re.findall(r"\b(warpkem_\w+)\(", "".join(
            path.read_text() for path in (prefix("shared") / "include/warpkem").glob("*.h"))))
        self.assertLessEqual(listed, declared, "a symbol without a declaration")

    def test_soname_and_needed_libraries(self):
        library = libraries("shared") / "libwarpkem.so"
        text = run("readelf", "-d", library)
        version = re.search(r"WARPKEM_VERSION_MAJOR (\d+)", (SOURCE / "include/warpkem/version.h").read_text())[1]
        self.assertIn(f"Library soname: [libwarpkem.so.{version}]", text)
        self.assertNotRegex(text, r"NEEDED.*libcu")
        self.assertIn("BIND_NOW", text)
        self.assertRegex(library.resolve().name, r"^libwarpkem\.so\.\d+\.\d+\.\d+$")

    def test_no_executable_stack(self):
        line = next(line for line in run("readelf", "-lW", libraries("shared") / "libwarpkem.so").splitlines()
                    if "GNU_STACK" in line)
        self.assertNotIn("RWE", line)

    def test_headers_compile_alone(self):
        folder = WORK / "headers"
        folder.mkdir(exist_ok=True)
        strict = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fsyntax-only", f"-I{prefix('shared')}/include"]
        headers = sorted((prefix("shared") / "include/warpkem").iterdir())
        self.assertIn("warpkem.h", [header.name for header in headers])
        for header in headers:
            for c, cpp in COMPILERS:
                for standard, suffix, compiler in (("c99", "c", c), ("c11", "c", c), ("c++20", "cpp", cpp)):
                    if suffix == "c" and header.suffix == ".hpp":
                        continue
                    with self.subTest(header=header.name, compiler=compiler, standard=standard):
                        source = folder / f"alone.{suffix}"
                        source.write_text(f"#include <warpkem/{header.name}>\n#include <warpkem/{header.name}>\nint x;\n")
                        run(compiler, f"-std={standard}", *strict, source)

    def test_failed_items_cannot_be_overlooked(self):
        source = WORK / "headers" / "ignored.c"
        source.parent.mkdir(exist_ok=True)
        source.write_text("#include <warpkem/warpkem.h>\nvoid f(warpkem_engine *e, warpkem_out o) {\n"
                          "  warpkem_keygen(e, 1, 0, 1, o, o, 0, 0);\n}\n")
        for compiler, _ in COMPILERS:
            with self.assertRaisesRegex(AssertionError, "unused-result"):
                run(compiler, "-Werror", "-c", "-o", os.devnull, f"-I{prefix('shared')}/include", source)

    def test_objects_for_other_cpus_bring_nothing_that_the_linker_merges(self):
        """A weak function compiled with -mavx2 could be the copy that runs on a CPU without it."""
        member, seen = "", set()
        for line in run("nm", libraries("static") / "libwarpkem.a").splitlines():
            if match := re.match(r"(\S+\.o):$", line):
                member = match[1]
            elif member in ("avx2.cpp.o", "avx512.cpp.o") and line.strip():
                seen.add(member)
                kind, name = line.split()[-2:]
                self.assertNotIn(kind, "WwVvu", f"{member} has the weak symbol {name}")
        listing = run("ar", "t", libraries("static") / "libwarpkem.a").split()
        self.assertEqual(seen, {name for name in ("avx2.cpp.o", "avx512.cpp.o") if name in listing})


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
