"""Writes the contract as JSON with one entry a line, so that a change can be read."""

import json
from collections.abc import Mapping
from typing import Any


def one_entry_a_line(parts: Mapping[str, Any]) -> str:
    """Return a JSON object whose parts that are objects have a line for each of their entries."""
    written = []
    for name, value in parts.items():
        if isinstance(value, dict):
            lines = ",\n".join(f"  {json.dumps(key)}: {compact(entry)}" for key, entry in value.items())
            written.append(f" {json.dumps(name)}: {{\n{lines}\n }}")
        else:
            written.append(f" {json.dumps(name)}: {compact(value)}")
    return "{\n" + ",\n".join(written) + "\n}\n"


def compact(value: Any) -> str:
    """Return JSON without blanks."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
