"""Scenarios in files: the shipped ones by name, others by path; TOML, or JSON.

A file holds what the control endpoint `start` takes: members of `Plan`, with tables `[behaviour]` and `[habits]` and
any number of `[[faults]]`.
"""

import json
import tomllib
from pathlib import Path
from typing import Any

from ampeco.nearest import did_you_mean
from ampeco.simulator.model import Refused

_FOLDER = Path(__file__).with_name("scenarios")


class ScenarioError(Refused):
    """A scenario that cannot be run; the message names the file, the place and the fix."""

    def __init__(self, file: str, fault: str) -> None:
        super().__init__(422, f"{file}: {fault}")


def names() -> list[str]:
    """The shipped scenarios."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def about_each() -> dict[str, str]:
    """Return the shipped scenarios with one line about each."""
    return {name: str(load(name)["about"]) for name in names()}


def load(name: str) -> dict[str, Any]:
    """A shipped scenario.

    Raises:
        ScenarioError: there is none of this name.
    """
    if name not in names():
        raise ScenarioError(
            name, f"is not a scenario; there are {', '.join(names())}{did_you_mean(name, names())}"
        )
    return load_file(_FOLDER / f"{name}.toml")


def load_file(path: Path) -> dict[str, Any]:
    """A scenario from a file, checked.

    Raises:
        ScenarioError: it cannot be read or played.
    """
    from ampeco.simulator.validation import (
        read_plan,  # imports pydantic, which listing names does not need
    )

    try:
        text = path.read_text()
        plan: dict[str, Any] = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        read_plan(plan)
    except OSError as error:
        raise ScenarioError(str(path), str(error.strerror)) from None
    except ValueError as error:
        language = "JSON" if path.suffix == ".json" else "TOML"
        raise ScenarioError(str(path), f"is not {language}: {error}") from None
    except Refused as error:
        faults = [fault for found in error.errors.values() for fault in found]
        raise ScenarioError(str(path), "; ".join(faults) or error.message) from None
    as_json: dict[str, Any] = json.loads(json.dumps(plan, default=lambda at: at.isoformat()))
    return as_json


def markdown_table() -> str:
    """The shipped scenarios, for the README."""
    rows = [f"| `{name}` | {about} |" for name, about in about_each().items()]
    return "\n".join(["| scenario | shows |", "|---|---|", *rows]) + "\n"
