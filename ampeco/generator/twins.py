"""Async text -> its twin for code that is not async: the one transformation behind every pair of modules."""

import re
from pathlib import Path

from ampeco.generator.facts import GENERATED, PACKAGE, formatted

_CHANGES = (
    (r"\basync def ", "def "),
    (r"\bawait ", ""),
    (r"\basync_mixins\b", "mixins"),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\bfor async code\b", "for code that is not async"),
)
_NOTE = "\n\n`ampeco/resources/mixins.py` is made from this file (`make generate`)."


def outputs() -> dict[Path, str]:
    """The twins of modules that are written by hand."""
    source, target = PACKAGE / "resources" / "async_mixins.py", PACKAGE / "resources" / "mixins.py"
    text = source.read_text().replace(_NOTE, "")
    return {target: formatted(target, f"# {GENERATED}\n{synchronous(text)}")}


def synchronous(text: str) -> str:
    """The same module for code that is not async."""
    for pattern, replacement in _CHANGES:
        text = re.sub(pattern, replacement, text)
    return text
