"""Notifications as AMPECO sends them, ready to post: two of each type that the contract describes.

`minimal` holds the required fields, `full` every documented one. Of a type without a documented payload there is a
`guess` of ours. All values are invented.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ampeco.signature import SigningKey

Case = Literal["minimal", "full", "guess"]
CASES: tuple[Case, ...] = ("full", "minimal", "guess")
BODIES = Path(__file__).with_name("bodies")
HEADERS = BODIES / "headers.json"
SAMPLE_KEY = SigningKey.of("key-of-the-samples")
"""Signs the samples."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One notification.

    Attributes:
        raw: the body, byte for byte as it is signed.
        headers: those it comes with.
    """

    notification: str
    case: Case
    raw: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    @property
    def body(self) -> dict[str, Any]:
        """The body as JSON; a new object each time."""
        body: dict[str, Any] = json.loads(self.raw)
        return body


@cache
def samples(notification: str) -> tuple[Sample, ...]:
    """The samples of a type, the fullest first; none for a type that we know nothing of."""
    headers = json.loads(HEADERS.read_bytes())
    return tuple(
        Sample(notification, case, (BODIES / name).read_bytes(), headers[name])
        for case in CASES
        if (name := f"{notification}.{case}.json") in headers
    )


@cache
def sampled() -> tuple[str, ...]:
    """The types with samples."""
    names = json.loads(HEADERS.read_bytes())
    return tuple(dict.fromkeys(name.rsplit(".", 2)[0] for name in names))
