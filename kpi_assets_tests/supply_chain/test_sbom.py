"""The bill of materials is valid, and lists every package of the lock files with its hashes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kpi_assets.settings import CHECKOUT
from supply_chain.lock import read

LOCK = CHECKOUT / "requirements.lock"


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    # Imported here, because the import takes two seconds and collecting this file would wait for it.
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    path = tmp_path_factory.mktemp("sbom") / "sbom.cdx.json"
    command = [sys.executable, "-m", "supply_chain.sbom", LOCK, path]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    count = len(re.findall(r"^[\w.-]+==", LOCK.read_text(), re.MULTILINE))
    assert (done.returncode, done.stdout) == (0, f"Wrote {path}: {count} packages of {LOCK}, CycloneDX 1.6.\n")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(path.read_text()) is None
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_every_locked_package_is_listed_with_its_version_and_each_hash(bill: dict[str, Any]) -> None:
    """The lock is read here line by line, independently of supply_chain."""
    wanted: dict[tuple[str, str], set[str]] = {}
    for line in LOCK.read_text().splitlines():
        if pin := re.match(r"([\w.-]+)==([^ ;\\]+)", line):
            name = (pin[1], pin[2])
            wanted[name] = set()
        elif digest := re.search(r"--hash=sha256:(\w+)", line):
            wanted[name].add(digest[1])
    told = {
        (each["name"], each["version"]): {digest["content"] for digest in each["externalReferences"][0]["hashes"]}
        for each in bill["components"]
    }
    assert told == wanted
    assert len(told) > 80
    assert all(each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}" for each in bill["components"])


def test_licenses_are_the_ones_that_the_packages_declare(bill: dict[str, Any]) -> None:
    licenses = {each["name"]: json.dumps(each.get("licenses")) for each in bill["components"]}
    assert "Apache" in licenses["dagster"]
    assert "LGPL" in licenses["psycopg"] or "Lesser General Public" in licenses["psycopg"]
    unknown = {name for name, told in licenses.items() if told == "null"}
    assert len(unknown) < len(licenses) / 4, unknown


def test_the_project_depends_on_all_of_them(bill: dict[str, Any]) -> None:
    [root] = [each for each in bill["dependencies"] if each["ref"] == "kpi_assets"]
    assert set(root["dependsOn"]) == {each["bom-ref"] for each in bill["components"]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a==1 \\\n    --hash=sha256:12\n", "a has no hash"),
        ("a>=1\n", "no pinned package"),
        ("a==1\n", "a has no hash"),
        ("-e .\n", "no pinned package"),
    ],
)
def test_a_lock_that_does_not_pin_everything_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "lock").write_text(text)
    with pytest.raises(ValueError, match=reason):
        read(tmp_path / "lock")


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "requirements-uv.lock"])
def test_everything_that_is_installed_is_locked_with_hashes_and_no_host_is_named(name: str) -> None:
    packages = read(CHECKOUT / name)
    assert {len(digest) for package in packages for digest in package.hashes} == {64}
    assert re.findall(r"https?://|--index|--find-links", (CHECKOUT / name).read_text()) == []
