#!/usr/bin/env python3
"""Debian's packages as they are shipped: builds them in a clean root of each release, and installs, uses, upgrades and purges
them in another. Takes root, debootstrap and a mirror.

WARPKEM_BUILD: where it works. WARPKEM_CLEAN_ROOTS: a folder with roots SUITE-pristine, as debootstrap makes them.
"""
import os
import pathlib
import shutil
import sys
import unittest

from commands import clean_root, inside, run

SOURCE = pathlib.Path(__file__).resolve().parents[2]
WORK = pathlib.Path(os.environ.get("WARPKEM_BUILD") or sys.exit("WARPKEM_BUILD is not set")).resolve()
PRISTINE = pathlib.Path(os.environ.get("WARPKEM_CLEAN_ROOTS", WORK))
APT = "DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends"
USE = r"""
set -e; cd $(mktemp -d)
for param in ML-KEM-768 X-Wing; do
  warpkem keygen --param $param --count 100 --ek ek --dk dk --force
  warpkem encaps --param $param --ek ek --ciphertext c --shared-secret K --force
  warpkem decaps --param $param --dk dk --ciphertext c --shared-secret K2 --force
  cmp K K2
done
cc -std=c99 -Werror /root/consumer.c -o consumer $(pkg-config --cflags --libs warpkem) && ./consumer
openssl list -providers -provider warpkem | grep -A3 warpkem | grep -q 'status: active'
python3 - <<'END'
import warpkem
with warpkem.Engine() as engine:
    pairs = engine.keygen("ML-KEM-768", 10)
    sent = engine.encaps("ML-KEM-768", pairs.ek)
    assert (engine.decaps("ML-KEM-768", pairs.dk, sent.c).K == sent.K).all()
END
"""


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("debootstrap"), "takes root and debootstrap")
class CleanRoots(unittest.TestCase):
    def root(self, suite, name):
        """A clean root of its own, with a fresh list of packages."""
        root = clean_root(self, suite, PRISTINE, WORK / name)
        inside(root, "apt-get update -q")
        return root

    def build(self, suite):
        """The packages of the sources as they are, and those of an older revision, in one folder each."""
        root = self.root(suite, f"{suite}-build")
        files = run("git", "-C", SOURCE, "ls-files", "-co", "--exclude-standard").split("\n")[:-1]
        for name in files:
            (root / "src" / name).parent.mkdir(parents=True, exist_ok=True)
            if (SOURCE / name).is_file():
                shutil.copy2(SOURCE / name, root / "src" / name)
        for name, options in ("old", "-DWARPKEM_PACKAGE_REVISION=0+old"), ("new", "-UWARPKEM_PACKAGE_REVISION"):
            inside(root, f"cd /src && tools/package -DWARPKEM_CUDA=OFF {options}")
            shutil.copytree(root / "src/build/debian/packages", WORK / f"{suite}-{name}", dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("_*"))
        inside(root, f"{APT} lintian")
        found = inside(root, "lintian --allow-root --display-info --fail-on error,warning /src/build/debian/packages/*.deb")
        print(found)
        self.assertNotIn("hardening-no", found)

    def test_packages(self):
        for suite in os.environ.get("WARPKEM_SUITES", "bookworm trixie").split():
            with self.subTest(suite):
                for name in "old", "new":
                    shutil.rmtree(WORK / f"{suite}-{name}", ignore_errors=True)
                self.build(suite)
                root = self.root(suite, f"{suite}-install")
                shutil.copy(SOURCE / "tests/install/consumer/consumer.c", root / "root")
                for name in "old", "new":
                    shutil.copytree(WORK / f"{suite}-{name}", root / name)
                before = inside(root, "dpkg -l | awk '{print $2}'")
                self.assertNotIn("warpkem", before)
                inside(root, f"{APT} /old/*.deb && {APT} gcc libc6-dev pkg-config openssl")
                inside(root, USE)
                self.assertIn("0+old", inside(root, "dpkg-query -W '*warpkem*'"))
                inside(root, f"{APT} /new/*.deb")
                self.assertNotIn("0+old", inside(root, "dpkg-query -W '*warpkem*'"))
                inside(root, USE)
                inside(root, "apt-get purge -y -q '*warpkem*'")
                self.assertEqual(inside(root, "dpkg-query -W -f '${Package} ${db:Status-Status}\\n' | grep warpkem || true"), "")
                self.assertEqual(inside(root, "find /usr /etc /var /opt -iname '*warpkem*' -not -path '/var/cache/apt/*'; "
                                              "ldconfig -p | grep warpkem || true"), "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
