"""`warpkem info --cbom` against CycloneDX's own schema."""
import os
import subprocess

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

TOOL = os.environ.get("WARPKEM_TOOL")
pytestmark = pytest.mark.skipif(not TOOL, reason="WARPKEM_TOOL is not set")


def bill():
    return subprocess.run([TOOL, "info", "--cbom"], check=True, capture_output=True, text=True).stdout


def test_the_bill_of_materials_is_valid():
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill()) is None


def test_the_schema_would_notice():
    broken = bill().replace('"kem"', '"magic"')
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(broken) is not None
