"""The bill of materials of the image's Python packages, as CycloneDX: the same bytes for the same lock.

It names what the lock pins for Linux. Hashes of the files are in the lock, several for each package. The packages of
the base image are in the bill of that image.
"""

from __future__ import annotations

import tomllib
import uuid
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from deploy.release.locked import MACHINES, Locked, read_lock

# One moment for all bills: the time of its making would change the file without a change of what it says.
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def text(project_file: Path, lock: Path, python: str) -> str:
    """Return the bill of a project with the packages of a lock, for a version of Python such as 3.13."""
    project = tomllib.loads(project_file.read_text())["project"]
    ours = Component(
        name=project["name"],
        version=project["version"],
        type=ComponentType.APPLICATION,
        bom_ref=project["name"],
        purl=PackageURL("pypi", None, project["name"], project["version"]),
        licenses=[DisjunctiveLicense(id=project["license"])],
    )
    locked = [
        one for one in read_lock(lock) if any(one.is_needed(python, machine) for machine in MACHINES.values())
    ]
    components = {one.name: _component(one) for one in locked}
    bill = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{ours.purl}\n{lock.read_text()}"))
    bill.metadata.component = ours
    bill.metadata.timestamp = _EPOCH
    bill.components.update(components.values())
    for parent in (ours.name, *components):
        needed = [components[one.name] for one in locked if parent in one.needed_by]
        bill.register_dependency(components.get(parent, ours), needed)
    written = make_outputter(bill, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)
    return written + "\n"


def _component(one: Locked) -> Component:
    return Component(
        name=one.name,
        version=one.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"{one.name}=={one.version}",
        purl=PackageURL("pypi", None, one.name, one.version),
    )
