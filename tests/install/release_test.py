#!/usr/bin/env python3
"""What tools/release makes: the tarball, its bill of materials and the checksums; with WARPKEM_LONG_TESTS the packages too.

WARPKEM_BUILD: where it works.
"""
import filecmp
import hashlib
import importlib.util
import json
import os
import pathlib
import re
import shutil
import sys
import tarfile
import tomllib
import unittest

from commands import run

SOURCE = pathlib.Path(__file__).resolve().parents[2]
WORK = pathlib.Path(os.environ.get("WARPKEM_BUILD") or sys.exit("WARPKEM_BUILD is not set")).resolve()
VERSION = re.search(r'VERSION_STRING "(.*)"', (SOURCE / "include/warpkem/version.h").read_text())[1]
spec = importlib.util.spec_from_file_location("sbom", SOURCE / "tools/packaging/sbom.py")
sbom = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sbom)


def release(name, *options, env=None):
    folder = WORK / name
    run(SOURCE / "tools/release", "--out", folder, *options, env=env)
    return folder


class Text(unittest.TestCase):
    def test_the_change_log_knows_the_version(self):
        headings = re.findall(r"(?m)^## \[(.*?)\](?: - (\d{4}-\d\d-\d\d))?$", (SOURCE / "CHANGELOG.md").read_text())
        released = [(version, date) for version, date in headings if version != "Unreleased"]
        self.assertEqual(released[0][0], VERSION)
        self.assertTrue(all(date for _, date in released), released)

    def test_what_is_taken_from_elsewhere_is_listed(self):
        """Whatever CMake looks for, and what the Python package asks for, each with the version that is asked for."""
        files = [*SOURCE.glob("*/**/CMakeLists.txt"), *SOURCE.glob("tools/cmake/*.cmake"), SOURCE / "CMakeLists.txt"]
        text = "\n".join(path.read_text() for path in files if "build" not in path.relative_to(SOURCE).parts)
        names = set(re.findall(r"find_package\((\w+)", text)) - {"Python3", "Threads", "warpkem"}
        self.assertGreater(len(names), 5)
        self.assertEqual(names - set(sbom.DEPENDENCIES), set())
        for name, version in set(re.findall(r"find_package\((\w+) (\d[\d.]*)", text)):
            if name in names:
                self.assertEqual(sbom.DEPENDENCIES[name][0], f">={version}")
        project = tomllib.loads((SOURCE / "tools/python/pyproject.toml").read_text())["project"]
        asked = {entry for entries in [project["dependencies"], *project["optional-dependencies"].values()] for entry in entries}
        for entry in asked:
            name, version = re.fullmatch(r"(\w+)(?:\[\w+\])?(>=[\d.]+)", entry).groups()
            self.assertEqual(sbom.DEPENDENCIES[name][0], version)

    def test_licences_are_those_of_the_copyright_file(self):
        text = "Format: x\n\nFiles: *\nCopyright: we\nLicense: Apache-2.0\n\nFiles: a/*\n b.c\nCopyright: they\nLicense: MIT\n All of it\n"
        self.assertEqual(sbom.licences_in(text), [("*", "Apache-2.0"), ("a/*", "MIT"), ("b.c", "MIT")])


@unittest.skipUnless((SOURCE / ".git").exists() and shutil.which("git"), "not a git checkout")
class Release(unittest.TestCase):
    def test_the_source(self):
        one, two = release("one", "--source-only"), release("elsewhere/two", "--source-only", env={"TZ": "Asia/Tokyo"})
        names = sorted(path.name for path in one.iterdir())
        self.assertEqual(names, ["SHA256SUMS", f"warpkem-{VERSION}.cdx.json", f"warpkem-{VERSION}.tar.gz"])
        self.assertEqual(filecmp.cmpfiles(one, two, names, shallow=False), (names, [], []))
        run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=one)
        committed = run("git", "-C", SOURCE, "ls-tree", "-r", "--name-only", "HEAD").splitlines()
        bill = json.loads((one / f"warpkem-{VERSION}.cdx.json").read_text())
        listed = {entry["name"]: entry for entry in bill["metadata"]["component"]["components"]}
        with tarfile.open(one / f"warpkem-{VERSION}.tar.gz") as tar:
            inside = {member.name.partition("/")[2]: tar.extractfile(member).read() for member in tar if member.isfile()}
            self.assertEqual({member.name.partition("/")[0] for member in tar}, {f"warpkem-{VERSION}"})
            self.assertEqual({member.mode & 0o022 for member in tar}, {0})
        self.assertEqual(sorted(inside), sorted(committed))
        self.assertEqual(set(listed), set(inside))
        for name, content in inside.items():
            self.assertEqual(listed[name]["hashes"][0]["content"], hashlib.sha256(content).hexdigest(), name)
            self.assertEqual(listed[name]["licenses"], [{"license": {"id": "Apache-2.0"}}], name)

    @unittest.skipUnless(os.environ.get("WARPKEM_LONG_TESTS"), "WARPKEM_LONG_TESTS is not set")
    def test_the_packages_are_the_same_twice(self):
        """In folders of different names, with nothing that a compiler's cache remembers."""
        folders = [release(name, "-DWARPKEM_CUDA=OFF", env={"CCACHE_DISABLE": "1", "TMPDIR": str(self.folder(name))})
                   for name in ("first", "second-of-a-longer-name")]
        names = sorted(path.name for path in folders[0].iterdir())
        self.assertGreater(sum(name.endswith(".deb") for name in names), 4)
        self.assertEqual(filecmp.cmpfiles(*folders, names, shallow=False), (names, [], []))

    def folder(self, name):
        folder = WORK / f"work-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


if __name__ == "__main__":
    unittest.main(verbosity=2)
