"""Derives `contract.json` from AMPECO's published OpenAPI document: names, types, limits and statuses, no prose.

    python -m ampeco.facts.derive FOLDER

FOLDER holds `openapi-v3.110.0.json` and its two extracts `callbacks.json` and `contracts.json`. The result is
committed; the document is not.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ampeco.facts.layout import compact, one_entry_a_line
from ampeco.facts.shapes import Shape, shape_of

CONTRACT = Path(__file__).with_name("contract.json")
_SHARED_FROM_CHARS = 60


def derive(folder: Path) -> dict[str, Any]:
    """The contract as our own facts.

    Args:
        folder: where the vendor's document and its extracts are.
    """
    callbacks = _read(folder / "callbacks.json")
    operations = _read(folder / "contracts.json")["operations"]
    paging = _paging(_read(folder / "openapi-v3.110.0.json"))
    facts = {
        "source": callbacks["source"],
        "subscribable": callbacks["subscribe"]["properties"]["notifications"]["items"]["enum"],
        "callbacks": {
            name: {
                "deprecated": callback["deprecated"],
                "headers": callback["headers"],
                "answers": callback["answers"],
                "payload": shape_of(callback["payload"]),
            }
            for name, callback in callbacks["callbacks"].items()
        },
        "operations": {
            f"{each['method']} {each['path']}": _operation(
                each, paging.get(f"{each['method']} {each['path']}")
            )
            for each in operations
        },
    }
    shared = _Shared(facts)
    return {**shared.replaced(facts), "shared": shared.table}


def main() -> None:
    """Write `contract.json`."""
    (folder,) = sys.argv[1:]
    CONTRACT.write_text(one_entry_a_line(derive(Path(folder))))


def _operation(each: Mapping[str, Any], paging: str | None) -> dict[str, Any]:
    parameters = {
        f"{parameter['in']} {parameter['name']}{' *' if parameter.get('required') else ''}": shape_of(
            parameter["schema"]
        )
        for parameter in each["parameters"]
    }
    operation: dict[str, Any] = {"group": each["group"]}
    if each["deprecated"]:
        operation["deprecated"] = True
    if parameters:
        operation["parameters"] = parameters
    if each.get("body") is not None:
        operation["body"] = shape_of(each["body"])
        operation["body_required"] = each["body_required"]
    if paging:
        operation["paging"] = paging
    operation["answers"] = {status: shape_of(schema) for status, schema in each["answers"].items()}
    return operation


def _paging(document: Mapping[str, Any]) -> dict[str, str]:
    """How a listing is paged: `empty-cursor` enters cursor mode, `next-link` gives the cursor, `page` counts."""
    found = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method == "parameters":
                continue
            declared = (*methods.get("parameters", ()), *operation.get("parameters", ()))
            parameters = {
                parameter["name"]: parameter.get("description", "")
                for parameter in _resolved(document, declared)
            }
            if "cursor" in parameters:
                empty = "empty" in parameters["cursor"]
                found[f"{method.upper()} {path}"] = "empty-cursor" if empty else "next-link"
            elif "page" in parameters:
                found[f"{method.upper()} {path}"] = "page"
    return found


def _resolved(document: Mapping[str, Any], parameters: tuple[Any, ...]) -> Iterator[Mapping[str, Any]]:
    for parameter in parameters:
        reference = parameter.get("$ref")
        yield document["components"]["parameters"][reference.split("/")[-1]] if reference else parameter


class _Shared:
    """Shapes that stand more than once, so that each is written once.

    Attributes:
        table: name -> shape.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.table: dict[str, Shape] = {}
        self._names: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._count(facts)

    def replaced(self, value: Any, *, names: bool = False) -> Any:
        """The value with every repeated shape replaced by its name.

        Args:
            names: the value is a mapping of field names, so it is not a shape, even if its names look like one.
        """
        if isinstance(value, list):
            return [self.replaced(part) for part in value]
        if not isinstance(value, dict):
            return value
        text = compact(value)
        if names or self._counts[text] < 2 or len(text) < _SHARED_FROM_CHARS:
            return {
                name: self.replaced(part, names=_holds_names(name, names)) for name, part in value.items()
            }
        if text not in self._names:
            number = self._names[text] = str(len(self._names) + 1)
            self.table[number] = {
                name: self.replaced(part, names=_holds_names(name)) for name, part in value.items()
            }
        return f"@{self._names[text]}"

    def _count(self, value: Any, *, names: bool = False) -> None:
        if isinstance(value, dict):
            if not names and ("is" in value or isinstance(value.get("fields"), dict)):
                self._counts[compact(value)] += 1
            for name, part in value.items():
                self._count(part, names=_holds_names(name, names))
        elif isinstance(value, list):
            for part in value:
                self._count(part)


def _holds_names(name: str, within_names: bool = False) -> bool:
    return name == "fields" and not within_names


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


if __name__ == "__main__":
    main()
