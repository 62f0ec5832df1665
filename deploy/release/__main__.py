"""`python -m deploy.release`: the steps of a release, one command each."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.release import base_image, bill_of_materials, wheels
from deploy.release.locked import MACHINES, read_lock

ROOT = Path(__file__).parents[2]
CONTAINERFILE = ROOT / "deploy" / "Containerfile"
LOCK = ROOT / "deploy" / "requirements.lock"
BILL = ROOT / "deploy" / "sbom.cdx.json"


def bill() -> str:
    """Return the bill of materials as it has to be now."""
    python = base_image.python_version(CONTAINERFILE.read_text())
    return bill_of_materials.text(ROOT / "pyproject.toml", LOCK, python)


@click.group()
def main() -> None:
    """Prepare a release of the image."""


@main.command("sbom")
def sbom() -> None:
    """Write deploy/sbom.cdx.json, which the image carries, from the lock."""
    BILL.write_text(bill())
    click.echo(f"wrote {BILL.relative_to(ROOT)}")


@main.command("wheels", context_settings={"ignore_unknown_options": True})
@click.option("--lock", default=LOCK, type=click.Path(path_type=Path, exists=True), show_default=False)
@click.option("--python", "python", default="", help="Version of Python; that of the image by default.")
@click.argument("pip_arguments", nargs=-1)
def check_wheels(lock: Path, python: str, pip_arguments: tuple[str, ...]) -> None:
    """Check that an index has a wheel with a locked hash of each package, for amd64 and arm64.

    Words after `--` go to pip, such as --index-url URL.
    """
    version = python or base_image.python_version(CONTAINERFILE.read_text())
    missing = wheels.missing(read_lock(lock), version, pip_arguments)
    for each in missing:
        click.echo(f"no wheel: {each}", err=True)
    if missing:
        raise SystemExit(1)
    click.echo(f"every wheel for Python {version} is there, for {' and '.join(MACHINES)}")


@main.command("pin-base")
def pin_base() -> None:
    """Write the digest of the base image into the Containerfile, as skopeo reads it from its registry."""
    before = CONTAINERFILE.read_text()
    try:
        name = base_image.name(before)
        digest = base_image.digest_of(name)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    CONTAINERFILE.write_text(base_image.pinned(before, digest))
    click.echo(f"{name} is {digest}")


if __name__ == "__main__":
    main()
