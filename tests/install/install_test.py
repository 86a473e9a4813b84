#!/usr/bin/env python3
"""The library as its users get it: installs it, shared and static, into a folder, and builds and runs projects outside
the tree against it, through CMake's find_package, through pkg-config and as a subdirectory.

install_test.py SOURCE_FOLDER WORK_FOLDER (the work folder is kept, so that a second run builds only what changed)
"""
import os
import pathlib
import re
import shutil
import sys
import unittest

from commands import run

SOURCE, WORK = (pathlib.Path(path).resolve() for path in sys.argv[1:3])
CONSUMER = SOURCE / "tests" / "install" / "consumer"
JOBS = str(len(os.sched_getaffinity(0)))
KINDS = {"shared": "ON", "static": "OFF"}
# Options as of preset dev, so that ccache has what stage gcc compiled.
AS_BUILT_BEFORE = ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O2 -g1 -DNDEBUG", "-DWARPKEM_WERROR=ON"]
COMPILERS = [pair for pair in (("cc", "c++"), ("clang", "clang++"), ("clang-14", "clang++-14")) if shutil.which(pair[1])][:2]


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
                "-DWARPKEM_CUDA=OFF", *AS_BUILT_BEFORE, f"-DCMAKE_INSTALL_PREFIX={prefix(kind)}")
            run("cmake", "--build", WORK / kind, "--parallel", JOBS)
            run("cmake", "--install", WORK / kind)

    def consume(self, name, *options, languages="C;CXX", again=False):
        folder = WORK / name
        if not again:
            shutil.rmtree(folder, ignore_errors=True)
        run("cmake", "-S", CONSUMER, "-B", folder, f"-DCONSUMER_LANGUAGES={languages}", *options)
        run("cmake", "--build", folder, "--parallel", JOBS)
        report = run("ctest", "--test-dir", folder, "--output-on-failure")
        self.assertIn(f"out of {1 + languages.count(';')}", report)
        return folder

    def test_find_package(self):
        for kind in KINDS:
            with self.subTest(kind=kind):
                self.consume(f"find-package-{kind}", "-DWITH=find_package", f"-DCMAKE_PREFIX_PATH={prefix(kind)}")

    def test_find_package_in_a_project_of_c_alone(self):
        for kind in KINDS:
            with self.subTest(kind=kind):
                self.consume(f"find-package-c-{kind}", "-DWITH=find_package", f"-DCMAKE_PREFIX_PATH={prefix(kind)}",
                             languages="C")

    def is_shared(self, program):
        """Whether a program takes libwarpkem as a shared library."""
        return "libwarpkem.so" in run("readelf", "-d", program)

    def test_both_kinds_live_in_one_prefix(self):
        prefixes = {}
        for order in (("shared", "static"), ("static", "shared")):
            both = prefixes[order] = WORK / f"prefix-{'-'.join(order)}"
            shutil.rmtree(both, ignore_errors=True)
            for kind in order:
                run("cmake", "--install", WORK / kind, "--prefix", both)
        both = prefixes["shared", "static"]
        # The OpenSSL module is of neither kind: each build links its own, and the last one installed stays.
        run("diff", "-r", "--exclude=warpkem.so", both, prefixes["static", "shared"])
        for options, shared in (((), True), (("-DBUILD_SHARED_LIBS=ON",), True), (("-DBUILD_SHARED_LIBS=OFF",), False),
                                (("-DCONSUMER_COMPONENTS=COMPONENTS;static",), False),
                                (("-DCONSUMER_COMPONENTS=COMPONENTS;shared", "-DBUILD_SHARED_LIBS=OFF"), True)):
            with self.subTest(options=options):
                folder = self.consume("find-package-both", "-DWITH=find_package", f"-DCMAKE_PREFIX_PATH={both}", *options,
                                      languages="C")
                self.assertEqual(self.is_shared(folder / "consumer_c"), shared)
        env = {"PKG_CONFIG_PATH": str(next(both.rglob("warpkem.pc")).parent)}
        for package, shared in (("warpkem", True), ("warpkem-static", False)):
            with self.subTest(package=package):
                flags = run("pkg-config", "--cflags", "--libs", package, env=env).split()
                program = WORK / f"pkg-config-both-{package}.out"
                run("cc", "-std=c99", CONSUMER / "consumer.c", "-o", program, *flags)
                self.assertEqual(self.is_shared(program), shared)

    def test_a_kind_that_is_not_installed_is_not_found(self):
        for kind, other in (("shared", "static"), ("static", "shared")):
            folder = WORK / f"no-{other}"
            shutil.rmtree(folder, ignore_errors=True)
            with self.assertRaisesRegex(AssertionError, rf"The {other} library of warpkem\s+is\s+not\s+installed"):
                run("cmake", "-S", CONSUMER, "-B", folder, "-DCONSUMER_LANGUAGES=C", "-DWITH=find_package",
                    f"-DCMAKE_PREFIX_PATH={prefix(kind)}", f"-DCONSUMER_COMPONENTS=COMPONENTS;{other}")
            # Without a component, what there is.
            self.consume(f"only-{kind}", "-DWITH=find_package", f"-DCMAKE_PREFIX_PATH={prefix(kind)}",
                         f"-DBUILD_SHARED_LIBS={KINDS[other]}", languages="C")

    def test_an_installed_prefix_may_be_given_late_and_moved(self):
        for kind in KINDS:
            late, moved = WORK / f"late-{kind}", WORK / f"moved-{kind}"
            for folder in late, moved:
                shutil.rmtree(folder, ignore_errors=True)
            run("cmake", "--install", WORK / kind, "--prefix", late)
            for path in (path for path in late.rglob("*") if path.suffix in (".pc", ".cmake")):
                for folder in prefix(kind), late:
                    self.assertNotIn(str(folder), path.read_text(), path)
            late.rename(moved)
            pc = next(moved.rglob("warpkem.pc")).parent
            env = {"PKG_CONFIG_PATH": str(pc), "LD_LIBRARY_PATH": str(pc.parent)}
            program = WORK / f"moved-{kind}.out"
            run("cc", "-std=c99", CONSUMER / "consumer.c", "-o", program,
                *run("pkg-config", "--cflags", "--libs", "warpkem", env=env).split())
            self.assertEqual(self.is_shared(program), kind == "shared")
            run(program, env=env)
            self.consume(f"find-package-moved-{kind}", "-DWITH=find_package", f"-DCMAKE_PREFIX_PATH={moved}", languages="C")

    def test_soname_and_package_version_agree(self):
        """Whoever may run with a library may also ask for its package: both go by the major version."""
        major, minor = re.findall(r"WARPKEM_VERSION_(?:MAJOR|MINOR) (\d+)", (SOURCE / "include/warpkem/version.h").read_text())
        text = run("readelf", "-d", libraries("shared") / "libwarpkem.so")
        self.assertIn(f"Library soname: [libwarpkem.so.{major}]", text)
        script = WORK / "version.cmake"
        for asked, fits in ((f"{major}.0", True), (f"{major}.{minor}", True), (f"{major}.{int(minor) + 1}", False),
                            (f"{int(major) + 1}.0", False)):
            script.write_text(f"set(PACKAGE_FIND_VERSION {asked})\nset(PACKAGE_FIND_VERSION_MAJOR {asked.split('.')[0]})\n"
                              f"set(PACKAGE_FIND_VERSION_COUNT 2)\nset(CMAKE_SIZEOF_VOID_P 8)\n"
                              f"include({next(prefix('shared').rglob('warpkem-config-version.cmake'))})\n"
                              f"message(\"fits: ${{PACKAGE_VERSION_COMPATIBLE}}\")\n")
            self.assertIn(f"fits: {str(fits).upper()}", run("cmake", "-P", script), asked)

    def configure(self, name, *options):
        """Configures the project itself anew, without the CUDA backend; the folder, and what CMake said."""
        folder = WORK / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder, run("cmake", "-S", SOURCE, "-B", folder, "-DWARPKEM_CUDA=OFF", *options)

    def test_a_unity_build_is_left_to_others(self):
        folder, _ = self.configure("unity", "-DCMAKE_UNITY_BUILD=ON", "-DWARPKEM_TESTS=ON")
        self.assertEqual([str(path) for path in folder.rglob("unity_*")], [])

    def test_the_tool_is_left_out_where_a_library_is_missing(self):
        folder, text = self.configure("no-tool", "-DCMAKE_DISABLE_FIND_PACKAGE_fmt=ON")
        self.assertRegex(text, "Command-line tool: no, there is no .*fmt")
        self.assertNotIn("warpkem_tool", run("cmake", "--build", folder, "--target", "help"))
        for package, debian in ("CLI11", "libcli11-dev"), ("fmt", "libfmt-dev"):
            with self.assertRaisesRegex(AssertionError, rf"{package}[^;]*{debian}[^;]*not\s+found;\s+WARPKEM_TOOLS=OFF"):
                self.configure(f"no-tool-{package}", f"-DCMAKE_DISABLE_FIND_PACKAGE_{package}=ON", "-DWARPKEM_TOOLS=ON")

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
        """One folder, configured in turn as each of them, for the library's objects are the same."""
        part = [f"-DWARPKEM_SOURCE_DIR={SOURCE}", "-DWARPKEM_CUDA=OFF", *AS_BUILT_BEFORE]
        folder = self.consume("part", "-DWITH=add_subdirectory", *part)
        with self.subTest("a project of C alone"):
            self.consume("part", "-DWITH=add_subdirectory", *part, languages="C", again=True)
            self.assertFalse(self.is_shared(folder / "consumer_c"))
        for shared in "OFF", "ON":
            with self.subTest("an installed project", shared=shared):
                self.consume("part", "-DWITH=FetchContent", *part, f"-DBUILD_SHARED_LIBS={shared}", languages="C", again=True)
                installed = WORK / "part-installed"
                shutil.rmtree(installed, ignore_errors=True)
                run("cmake", "--install", folder, "--prefix", installed)
                self.assertTrue(list(installed.rglob("warpkem-config.cmake")))
                moved = WORK / "part-moved"
                shutil.rmtree(moved, ignore_errors=True)
                installed.rename(moved)
                program = moved / "bin" / "consumer_c"
                self.assertEqual(self.is_shared(program), shared == "ON")
                run(program)
        with self.subTest("without install rules"):
            self.consume("part", "-DWITH=FetchContent", *part, "-DWARPKEM_INSTALL=OFF", languages="C", again=True)
            shutil.rmtree(moved, ignore_errors=True)
            run("cmake", "--install", folder, "--prefix", moved)
            self.assertEqual([path.name for path in moved.rglob("*") if path.is_file()], ["consumer_c"])

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
        strict = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror", "-fsyntax-only", f"-I{prefix('shared')}/include"]
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

    def test_older_cpp_is_told_so_once(self):
        folder = WORK / "headers"
        folder.mkdir(exist_ok=True)
        for header in ("warpkem.hpp", "async.hpp", "params.hpp"):
            for _, compiler in COMPILERS:
                for standard in ("c++98", "c++11", "c++14", "c++17"):
                    with self.subTest(header=header, compiler=compiler, standard=standard):
                        source = folder / "older.cpp"
                        source.write_text(f"#include <warpkem/{header}>\n#include <warpkem/{header}>\nint x;\n")
                        with self.assertRaises(AssertionError) as refused:
                            run(compiler, f"-std={standard}", "-fsyntax-only", f"-I{prefix('shared')}/include", source)
                        errors = re.findall(r"error: .*", str(refused.exception))
                        self.assertEqual(len(errors), 1, errors)
                        self.assertIn("C++20", errors[0])

    def test_the_c_headers_serve_older_cpp(self):
        folder = WORK / "headers"
        folder.mkdir(exist_ok=True)
        for _, compiler in COMPILERS:
            source = folder / "c_in_cpp.cpp"
            source.write_text("#include <warpkem/warpkem.h>\n#include <warpkem/cuda.h>\nint x;\n")
            run(compiler, "-std=c++11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{prefix('shared')}/include", source)

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
