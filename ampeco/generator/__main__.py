"""Writes everything that is generated inside this package: `python -m ampeco.generator` (`make generate`)."""

from pathlib import Path

from ampeco.generator import (
    actions,
    contract,
    literals,
    notification_page,
    objects,
    operations,
    page,
    payloads,
    resources,
    sample_bodies,
    states,
    twins,
)
from ampeco.generator.facts import ROOT

PARTS = (
    contract.outputs,
    operations.outputs,
    twins.outputs,
    actions.outputs,
    resources.outputs,
    objects.outputs,
    payloads.outputs,
    states.outputs,
    literals.outputs,
    sample_bodies.outputs,
    notification_page.outputs,
    page.outputs,
)


def outputs() -> dict[Path, str]:
    """Path -> text of every generated file."""
    return {path: text for part in PARTS for path, text in part().items()}


def main() -> None:
    """Write what is out of date and say so."""
    for path, text in outputs().items():
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
