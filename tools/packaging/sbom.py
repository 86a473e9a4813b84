#!/usr/bin/env python3
"""sbom.py SOURCE: the bill of materials of a source tree, as CycloneDX 1.7 in JSON, to standard output.

It lists each file with its hash and its licence (tools/packaging/copyright says which), and what a build takes from
elsewhere, none of which is in the tree. The same tree and SOURCE_DATE_EPOCH give the same bytes.
"""
import datetime
import email
import fnmatch
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import uuid

# What is taken from elsewhere: (versions that do, licence as an SPDX expression, package URL, what takes it). Versions are
# those that the build asks for; where it asks for none, what Debian 12 has, for nothing older is tried.
REQUIRED, OPTIONAL, FOR_TESTS = "required", "optional", "excluded"  # the scopes of CycloneDX
DEPENDENCIES = {
    "OpenSSL": (">=3.0", "Apache-2.0", "pkg:github/openssl/openssl", OPTIONAL, "library, tool, provider"),
    "CLI11": (">=2.1", "BSD-3-Clause", "pkg:github/CLIUtils/CLI11", OPTIONAL, "tool"),
    "fmt": (">=9.1", "MIT", "pkg:github/fmtlib/fmt", OPTIONAL, "tool"),
    "nlohmann_json": (">=3.11", "MIT", "pkg:github/nlohmann/json", OPTIONAL, "tool"),
    "civetweb": (">=1.15", "MIT", "pkg:github/civetweb/civetweb", OPTIONAL, "tool"),
    "CUDAToolkit": (">=12.4", "NVIDIA CUDA Toolkit EULA", None, OPTIONAL, "CUDA backend"),
    "numpy": (">=1.26", "BSD-3-Clause", "pkg:pypi/numpy", OPTIONAL, "Python package"),
    "pyarrow": (">=15", "Apache-2.0", "pkg:pypi/pyarrow", OPTIONAL, "Python package"),
    "cryptography": (">=42", "Apache-2.0 OR BSD-3-Clause", "pkg:pypi/cryptography", OPTIONAL, "Python package"),
    "tqdm": (">=4.60", "MPL-2.0 AND MIT", "pkg:pypi/tqdm", OPTIONAL, "Python package"),
    "ray": (">=2.40", "Apache-2.0", "pkg:pypi/ray", OPTIONAL, "Python package"),
    "GTest": (">=1.12", "BSD-3-Clause", "pkg:github/google/googletest", FOR_TESTS, "tests"),
    "benchmark": (">=1.7", "Apache-2.0", "pkg:github/google/benchmark", FOR_TESTS, "benchmarks"),
    "ZLIB": (">=1.2.13", "Zlib", "pkg:github/madler/zlib", FOR_TESTS, "tests"),
    "Zydis": (">=3.2", "MIT", "pkg:github/zyantific/zydis", FOR_TESTS, "tests of constant time"),
}


def files_of(source):
    """The files of a tree, by name; of a checkout those that are committed or about to be."""
    if (source / ".git").exists():
        listed = subprocess.run(["git", "-C", source, "ls-files", "-z", "-co", "--exclude-standard"], check=True,
                                stdout=subprocess.PIPE).stdout.decode().split("\0")
        names = [name for name in listed if name and (source / name).is_file()]
    else:
        names = [path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()]
    return sorted(names)


def licences_in(copyright_file):
    """What Debian's machine-readable copyright file says: (pattern, licence). The last that fits a file counts."""
    stanzas = [email.message_from_string(stanza) for stanza in copyright_file.split("\n\n")]
    return [(pattern, stanza["License"].splitlines()[0]) for stanza in stanzas if "Files" in stanza
            for pattern in stanza["Files"].split()]


def licence(text):
    """CycloneDX tells the identifiers of SPDX's list from expressions, and both from names."""
    if " OR " in text or " AND " in text:
        return [{"expression": text}]
    return [{"license": {"name" if " " in text else "id": text}}]


def component(name, versions, licence_text, purl, scope, taken_by):
    made = {"type": "library", "bom-ref": f"dependency:{name}", "name": name, "versionRange": f"vers:generic/{versions}",
            "isExternal": True, "scope": scope, "licenses": licence(licence_text)}
    if purl:
        made["purl"] = purl
    return {**made, "properties": [{"name": "warpkem:taken-by", "value": taken_by}]}


def bill(source):
    version = re.search(r'VERSION_STRING "(.*)"', (source / "include/warpkem/version.h").read_text())[1]
    stanzas = licences_in((source / "tools/packaging/copyright").read_text())
    own = dict(stanzas)["*"]
    files = []
    for name in files_of(source):
        of_file = [text for pattern, text in stanzas if fnmatch.fnmatch(name, pattern)][-1]
        files.append({"type": "file", "bom-ref": f"file:{name}", "name": name, "licenses": licence(of_file),
                      "hashes": [{"alg": "SHA-256", "content": hashlib.sha256((source / name).read_bytes()).hexdigest()}]})
    root = {"type": "library", "bom-ref": f"warpkem@{version}", "name": "warpkem", "version": version,
            "description": "Batch ML-KEM (FIPS 203) for CPUs and GPUs", "licenses": licence(own),
            "purl": f"pkg:generic/warpkem@{version}", "components": files}
    components = [component(name, *row) for name, row in DEPENDENCIES.items()]
    made = {
        "metadata": {"lifecycles": [{"phase": "pre-build"}], "component": root},
        "components": components,
        "dependencies": [{"ref": root["bom-ref"], "dependsOn": [one["bom-ref"] for one in components]},
                         *({"ref": one["bom-ref"]} for one in components)],
    }
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        date = datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc)
        made["metadata"] = {"timestamp": date.strftime("%Y-%m-%dT%H:%M:%SZ"), **made["metadata"]}
    content = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(made))
    return {"$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json", "bomFormat": "CycloneDX", "specVersion": "1.7",
            "serialNumber": f"urn:uuid:{content}", "version": 1, **made}


if __name__ == "__main__":
    json.dump(bill(pathlib.Path(sys.argv[1]).resolve()), sys.stdout, indent=1)
    print()
