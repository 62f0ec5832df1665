"""The table and the catalogue -> `ampeco/literals.py`: names that a type checker knows."""

from collections.abc import Iterable
from pathlib import Path

from ampeco.catalogue import KNOWN_TYPES, UNCONFIRMED_TYPES
from ampeco.generator.facts import GENERATED, PACKAGE, formatted
from ampeco.generator.operations import rows

_HEAD = f'''# {GENERATED}
"""Names as types: a type checker refuses one that is misspelled."""

from typing import Literal, TypeAlias
'''


def outputs() -> dict[Path, str]:
    """The module."""
    path = PACKAGE / "literals.py"
    actions = sorted({row["name"] for row in rows() if row["kind"] != "read"})
    text = "\n".join(
        [
            _HEAD,
            _alias("NotificationName", sorted({*KNOWN_TYPES, *UNCONFIRMED_TYPES})),
            '"""A notification type that we know."""\n',
            _alias("ActionName", actions),
            '"""An operation that changes something: an action, or a write of a resource."""\n',
        ]
    )
    return {path: formatted(path, text)}


def _alias(name: str, words: Iterable[str]) -> str:
    return f"{name}: TypeAlias = Literal[{', '.join(map(repr, words))}]"
