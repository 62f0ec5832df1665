"""The result of the last check of our registration, as the log stores it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from eventlog.gap_records import Reason
from eventlog.reading import object_of, readable, whole


@dataclass(frozen=True)
class Missing:
    """Types that our notification subscription did not bring for a time.

    Attributes:
        since_ms: when they were last known to be delivered, or first known to be missing.
    """

    since_ms: int
    types: frozenset[str]


@dataclass(frozen=True)
class Registration:
    """The result of the last check.

    Attributes:
        now_ms: the clock of Redis, when this was read.
        state: one word, such as `registered`, `removed` or `failed:unauthorized`; empty before the first check.
        detail: what AMPECO said, for people.
        key_id: the API token with which that was found.
        confirmed_ms: when AMPECO last showed that all wanted types are subscribed.
        looked_ms: the last check, successful or not.
        retry_ms: when to try again after a failure.
        covers: the types that AMPECO confirmed.
        missing: by reason of a gap that is still open, the types that it costs.
        removed_ms: since when the subscription is removed on request; nothing but `apply` makes a new one.
        made: subscriptions that this log made, and the id of the key that each signs with.
    """

    now_ms: int
    state: str = ""
    detail: str = ""
    key_id: str = ""
    confirmed_ms: int | None = None
    looked_ms: int | None = None
    retry_ms: int | None = None
    covers: frozenset[str] = frozenset()
    missing: Mapping[Reason, Missing] = field(default_factory=dict)
    removed_ms: int | None = None
    made: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_confirmed(self) -> bool:
        """Whether AMPECO's last answer showed a subscription that brings all wanted types."""
        return self.confirmed_ms is not None and not self.missing and self.removed_ms is None


def registration_of(found: Mapping[bytes, bytes], now_ms: int) -> Registration:
    """Read the stored fields. Fields of a later release are ignored."""
    fields = texts(found)
    return Registration(
        now_ms,
        state=fields.get("state", ""),
        detail=fields.get("detail", ""),
        key_id=fields.get("by", ""),
        confirmed_ms=_number(fields.get("confirmed_ms")),
        looked_ms=_number(fields.get("looked_ms")),
        retry_ms=_number(fields.get("retry_ms")),
        covers=frozenset(filter(None, fields.get("covers", "").split(","))),
        missing=_missing(fields.get("lost", "")),
        removed_ms=_number(fields.get("removed_ms")),
        made=_object(fields.get("made", "")),
    )


def packed(missing: Mapping[Reason, Missing]) -> str:
    """Return what is stored of open gaps."""
    return json.dumps({name: [one.since_ms, sorted(one.types)] for name, one in missing.items()})


def texts(found: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in found.items()
    }


def _number(text: str | None) -> int | None:
    return whole(text)


def _object(text: str) -> dict[str, Any]:
    return object_of(text)


def _missing(text: str) -> dict[Reason, Missing]:
    found = {cast("Reason", reason): readable(_one_missing, said) for reason, said in _object(text).items()}
    return {reason: one for reason, one in found.items() if one is not None}


def _one_missing(said: Any) -> Missing:
    since_ms, types = said
    return Missing(int(since_ms), frozenset(map(str, types)))
