"""The bill of materials of a package, in CycloneDX 1.6: its libraries with versions and licences.

The same package gives the same bill: the serial number is derived from the digest, and there is no date.
"""

import json
import uuid
from collections.abc import Callable, Sequence
from importlib.metadata import PathDistribution

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

_NAMESPACE = uuid.UUID("6f0f3a44-6f0c-5d7e-9a55-2f3a1d1e7b10")
"""Namespace of the bills' serial numbers (RFC 9562, version 5)."""


def bill_of_materials(name: str, distributions: Sequence[PathDistribution]) -> Callable[[str], bytes]:
    """Return a function from the package's digest to its bill, as JSON."""
    licenses = LicenseFactory()
    components = []
    for each in distributions:
        stated = _stated(each, "License-Expression") or _stated(each, "License")
        library, version = each.metadata["Name"], each.version
        purl = PackageURL("pypi", None, library.lower().replace("_", "-"), version)
        components.append(
            Component(
                type=ComponentType.LIBRARY,
                name=library,
                version=version,
                purl=purl,
                bom_ref=str(purl),
                licenses=[licenses.make_from_string(stated)] if 0 < len(stated) < 100 else [],
            )
        )

    def made(digest: str) -> bytes:
        bom = Bom(serial_number=uuid.uuid5(_NAMESPACE, f"{name} {digest}"), components=components)
        bom.metadata.component = Component(type=ComponentType.APPLICATION, name=name, bom_ref=name)
        bom.register_dependency(bom.metadata.component, components)
        return _undated(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2))

    return made


def _stated(distribution: PathDistribution, field: str) -> str:
    return str(distribution.metadata[field] or "") if field in distribution.metadata else ""


def _undated(text: str) -> bytes:
    document = json.loads(text)
    document["metadata"].pop("timestamp", None)
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()
