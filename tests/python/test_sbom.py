"""The bill of materials of the source (tools/packaging/sbom.py) against CycloneDX's own schema."""
import json
import os
import pathlib
import subprocess
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

SOURCE = pathlib.Path(__file__).resolve().parents[2]


def bill():
    done = subprocess.run([sys.executable, SOURCE / "tools/packaging/sbom.py", SOURCE], check=True, capture_output=True, text=True,
                          env={**os.environ, "SOURCE_DATE_EPOCH": "1790000000"})
    return done.stdout


def test_the_bill_of_materials_is_valid():
    text = bill()
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(text) is None
    made = json.loads(text)
    files = made["metadata"]["component"]["components"]
    assert {"README.md", "tools/packaging/sbom.py"} <= {one["name"] for one in files}
    assert all(one["licenses"] and one["hashes"] for one in files)
    assert all(one["licenses"] and one["versionRange"] for one in made["components"])


def test_the_schema_would_notice():
    broken = bill().replace('"Apache-2.0"', '"Apache-3.0"', 1)
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(broken) is not None
