"""The software bill of materials of the locked packages, in CycloneDX: `python -m supply_chain.sbom LOCK FILE`.

Name, version and hashes are those of the lock; the licenses are those that the installed packages declare. Not here:
the format, which the library of CycloneDX writes and validates.
"""

import re
import sys
from importlib import metadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from supply_chain.lock import Package, read

_CLASSIFIER = "License :: OSI Approved :: "
_LONGEST = 100  # characters of a license's name; some packages put its whole text there


def bill(packages: list[Package]) -> Bom:
    """The bill of a project with these packages."""
    bom = Bom()
    own = metadata.metadata("kpi_assets")
    root = Component(type=ComponentType.APPLICATION, name=own["Name"], version=own["Version"], bom_ref="kpi_assets")
    bom.metadata.component = root
    components = [_component(package) for package in packages]
    for component in components:
        bom.components.add(component)
    bom.register_dependency(root, components)
    return bom


def write(lock: Path, path: Path) -> int:
    """Write the bill of a lock file; returns its number of packages. Raises ValueError where it would be invalid."""
    packages = read(lock)
    text = JsonV1Dot6(bill(packages)).output_as_string(indent=2)
    if invalid := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"the bill is no valid CycloneDX: {invalid}")
    path.write_text(text + "\n")
    return len(packages)


def _component(package: Package) -> Component:
    purl = PackageURL("pypi", name=re.sub(r"[-_.]+", "-", package.name).lower(), version=package.version)
    # A hash of a component is of one file, and a package has many: so they stand at its distributions.
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(purl.to_string()),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each) for each in package.hashes],
    )
    marker = [Property(name="kpi_assets:installed_where", value=package.marker)] if package.marker else []
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        bom_ref=purl.to_string(),
        purl=purl,
        licenses=_licenses(package),
        external_references=[files],
        properties=marker,
    )


def _licenses(package: Package) -> list[License]:
    """What the installed package declares: an expression, else classifiers, else a name; none where it says nothing."""
    try:
        found = metadata.metadata(package.name).json  # values of headers that may stand several times are lists
    except metadata.PackageNotFoundError:  # it is for another Python or system
        return []
    make = LicenseFactory()
    if expression := found.get("license_expression"):
        return [make.make_from_string(str(expression))]
    names = [each.removeprefix(_CLASSIFIER) for each in found.get("classifier", []) if each.startswith(_CLASSIFIER)]
    name = " ".join(str(found.get("license", "")).split())
    if not names and name and len(name) <= _LONGEST:
        names = [name]
    return [make.make_with_name(each) for each in names]


def main() -> None:
    """Write it, and say so."""
    lock, path = map(Path, sys.argv[1:])
    print(f"Wrote {path}: {write(lock, path)} packages of {lock}, CycloneDX 1.6.")


if __name__ == "__main__":
    main()
