"""Async text -> its twin for code that is not async: the one transformation behind every pair of modules."""

import re
from pathlib import Path

from ampeco.generator.facts import GENERATED, PACKAGE, formatted

_CHANGES = (
    (r"\basync def ", "def "),
    (r"\bawait ", ""),
    (r"\basync (?=with|for\b)", ""),
    (r"\bimport asyncio\n", ""),
    (r"\basyncio\.timeout\(", "time_limit("),
    (r"\bhttp = (httpx2\.AsyncClient\(.*\))\n", r"http = limited(\1)\n"),
    (r"(from ampeco\.repeating import .*\n)", r"\1from ampeco.time_limit import limited, time_limit\n"),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"\bAwaitable\[None\]", "None"),
    (r"\bAwaitable, ", ""),
    (r"\bfor entry in entries:\n\s+yield entry\b", "yield from entries"),
    (r"\.asynchronous\b", ".synchronous"),
    (r"\b(__)?a(?=close\b|enter__|exit__|iter_raw\b)", r"\1"),
    (r"\.acquire\(", ".acquire_blocking("),
    (r"\basync_(?=(?:endpoints|mixins)\b)", ""),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\bfor async code\b", "for code that is not async"),
    (r"\bthe async client\b", "the client"),
)
_TWINS = {
    "async_client.py": "sync_client.py",
    "async_endpoints.py": "endpoints.py",
    "resources/async_mixins.py": "resources/mixins.py",
}


def outputs() -> dict[Path, str]:
    """The twins of modules that are written by hand."""
    made = {}
    for source, target in _TWINS.items():
        path = PACKAGE / target
        note = f"\n\n`ampeco/{target}` is made from this file (`make generate`)."
        text = synchronous((PACKAGE / source).read_text().replace(note, ""))
        made[path] = formatted(path, f"# {GENERATED}\n{text}")
    return made


def synchronous(text: str) -> str:
    """The same module for code that is not async."""
    for pattern, replacement in _CHANGES:
        text = re.sub(pattern, replacement, text)
    return text
