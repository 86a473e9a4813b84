#!/usr/bin/env python3
"""Debian's packages of the build in WARPKEM_BUILD, without installing them: what they consist of, and that it works."""
import os
import pathlib
import re
import shutil
import sys
import unittest

from commands import run

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("WARPKEM_BUILD") or sys.exit("WARPKEM_BUILD is not set"))
WORK = BUILD / "package-test"
ROOT = WORK / "root"  # where the packages are unpacked
CONSUMER = SOURCE / "tests" / "install" / "consumer"
VERSION = re.search(r'VERSION_STRING "(.*)"', (SOURCE / "include/warpkem/version.h").read_text())[1]
MAJOR = VERSION.split(".")[0]


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        shutil.rmtree(WORK, ignore_errors=True)
        ROOT.mkdir(parents=True)
        cls.packages = {path.name.split("_")[0]: path for path in (BUILD / "packages").glob("*.deb")}
        for path in cls.packages.values():
            run("dpkg-deb", "--extract", path, ROOT)
        cls.libraries = next(ROOT.rglob(f"libwarpkem.so.{MAJOR}")).parent

    def field(self, package, name):
        return run("dpkg-deb", "--field", self.packages[package], name).strip()

    def files(self, package):
        """What a package brings besides its documents, by path."""
        listed = [line.split(maxsplit=5) for line in run("dpkg-deb", "--contents", self.packages[package]).splitlines()]
        return {name[-1].split(" -> ")[0]: name[0] for name in listed
                if not name[0].startswith("d") and not re.match(r"\./usr/share/(doc|lintian)/", name[-1])}

    def test_every_package_is_made(self):
        self.assertEqual(set(self.packages), {f"libwarpkem{MAJOR}", "libwarpkem-dev", "warpkem", "warpkem-openssl-provider",
                                              "python3-warpkem"})

    def test_lintian_finds_no_error_and_no_warning(self):
        if not shutil.which("lintian"):
            self.skipTest("no lintian")
        print(run("lintian", "--allow-root", "--fail-on", "error,warning", *self.packages.values()))

    def test_a_library_brings_nothing_that_another_version_brings(self):
        """Two major versions can be installed together: whatever lies outside the documents has the version in its name."""
        for path in self.files(f"libwarpkem{MAJOR}"):
            self.assertRegex(path, rf"/libwarpkem\.so\.{MAJOR}(\.|$)")

    def test_no_two_packages_bring_the_same_file(self):
        owners = {}
        for package in self.packages:
            for path in self.files(package):
                self.assertEqual(owners.setdefault(path, package), package, path)

    def test_dependencies(self):
        self.assertIn(f"libwarpkem{MAJOR} (=", self.field("libwarpkem-dev", "Depends"))
        for package in "warpkem", "python3-warpkem":
            self.assertIn(f"libwarpkem{MAJOR} (>= {VERSION})", self.field(package, "Depends"))
        self.assertNotIn("libwarpkem", self.field("warpkem-openssl-provider", "Depends"))
        for package in self.packages:
            self.assertNotRegex(self.field(package, "Depends"), "(?i)nvidia|cuda")

    def test_descriptions(self):
        for package in self.packages:
            first, *lines = self.field(package, "Description").splitlines()
            self.assertRegex(first, "^batch ML-KEM for CPUs and GPUs - ")
            self.assertIn(" .", lines)
            self.assertIn("This package contains", "\n".join(lines))

    def test_nothing_names_the_folder_of_the_build(self):
        for path in ROOT.rglob("*"):
            if path.suffix in (".pc", ".cmake", ".py"):
                self.assertNotIn(str(SOURCE), path.read_text(), path)
        for path in self.libraries / f"libwarpkem.so.{MAJOR}", ROOT / "usr/bin/warpkem":
            self.assertNotRegex(run("readelf", "-d", path), "RPATH|RUNPATH")

    def test_a_consumer_in_c_by_pkg_config(self):
        env = {"PKG_CONFIG_PATH": str(self.libraries / "pkgconfig"), "LD_LIBRARY_PATH": str(self.libraries)}
        flags = run("pkg-config", "--cflags", "--libs", "warpkem", env=env).split()
        self.assertTrue(any(flag.startswith(f"-L{ROOT}") or flag.startswith(f"-L{self.libraries}") for flag in flags), flags)
        program = WORK / "consumer"
        run("cc", "-std=c99", CONSUMER / "consumer.c", "-o", program, *flags)
        run(program, env=env)

    def test_a_consumer_in_c_by_find_package(self):
        folder = WORK / "find-package"
        shutil.rmtree(folder, ignore_errors=True)
        run("cmake", "-S", CONSUMER, "-B", folder, "-DCONSUMER_LANGUAGES=C", "-DWITH=find_package",
            f"-DCMAKE_PREFIX_PATH={ROOT}/usr")
        run("cmake", "--build", folder)
        run(folder / "consumer_c")

    def test_the_tool_takes_the_packaged_library(self):
        env = {"LD_LIBRARY_PATH": str(self.libraries)}
        tool = ROOT / "usr/bin/warpkem"
        self.assertIn(str(self.libraries), run("ldd", tool, env=env))
        self.assertEqual(run(tool, "--version", env=env).split(), ["warpkem", VERSION])
        run(tool, "selftest", env=env)

    def test_manual_pages_are_there_and_compressed(self):
        pages = {pathlib.Path(path).name for path in self.files("warpkem") if "/man/man1/" in path}
        self.assertLessEqual({"warpkem.1.gz", "warpkem-keygen.1.gz"}, pages)
        self.assertEqual({page for page in pages if not page.endswith(".1.gz")}, set())

    def test_the_provider_loads(self):
        if not shutil.which("openssl"):
            self.skipTest("no openssl")
        folder = next(ROOT.rglob("ossl-modules"))
        self.assertIn("status: active", run("openssl", "list", "-providers", "-provider", "warpkem",
                                            env={"OPENSSL_MODULES": str(folder)}))


if __name__ == "__main__":
    unittest.main(verbosity=2)
