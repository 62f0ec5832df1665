"""The receivers that are alive: the keys that each accepts and its URL; and when which key last verified an event.

Every receiver writes this down every few seconds. Only ids of keys are stored, never a key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from eventlog.clock import redis_ms
from eventlog.reading import readable, whole

if TYPE_CHECKING:
    from eventlog.log import EventLog

PUBLISH_S = 5.0
LIVE_MS = 20_000  # of what a receiver wrote
RECENT_MS = 600_000  # a key that verified an event since then is in use
_MOST_HEARD = 2_000
_KEEP_HEARD_MS = 7 * 86_400_000  # of what is heard, once there is so much
_BEATS_MS = 5_000
_SUBSCRIPTION = "#"  # separates key id and notification subscription in `heard`; `|` key id and type
_ENTRY = re.compile(r"([^|#]*)([|#])(.*)", re.DOTALL)


@dataclass(frozen=True)
class Replica:
    """A live receiver.

    Attributes:
        name: `host-pid-random`.
        accepted: ids of the keys that it accepts.
        api_key: id of the API token that it calls AMPECO with; empty without one.
        url: the callback URL that it is configured with; empty without one.
    """

    name: str
    accepted: frozenset[str]
    api_key: str = ""
    url: str = ""


class Noted(NamedTuple):
    """The answer to `publish`: the clock of Redis, and keys that a rotation dropped."""

    now_ms: int
    dropped: frozenset[str]


@dataclass(frozen=True)
class Heard:
    """When events came last, in Unix ms.

    Attributes:
        now_ms: the clock of Redis, when this was read.
        types: by id of the key and notification type.
        by_key: by id of the key.
        subscriptions: by notification subscription (from `X-Webhook-Id`) and id of the key.
    """

    now_ms: int
    types: Mapping[tuple[str, str], int]
    subscriptions: Mapping[str, Mapping[str, int]]
    by_key: Mapping[str, int]

    def recent_keys(self) -> frozenset[str]:
        """Return the keys that verified an event in the last ten minutes."""
        return frozenset(key_id for key_id, at_ms in self.by_key.items() if self.now_ms - at_ms < RECENT_MS)


async def publish(
    log: EventLog,
    replica: Replica,
    *,
    types: Mapping[tuple[str, str], int],
    subscriptions: Iterable[tuple[str, str, int]],
) -> Noted:
    """Publish what a receiver accepts, and when events came.

    Args:
        types: (key id, type) → Unix ms, of what came since the last call.
        subscriptions: (notification subscription, key id, Unix ms).
    """
    says = json.dumps(
        {"keys": sorted(replica.accepted), "api_key": replica.api_key, "url": replica.url},
        separators=(",", ":"),
    )
    heard: list[str | int] = []
    keys: dict[str, int] = {}
    for (key_id, _), at_ms in types.items():
        keys[key_id] = max(at_ms, keys.get(key_id, 0))
    for key_id, at_ms in keys.items():
        heard += [f"{key_id}|", at_ms]
    for (key_id, type_), at_ms in types.items():
        heard += [f"{key_id}|{type_}", at_ms]
    for subscription, key_id, at_ms in subscriptions:
        heard += [f"{key_id}{_SUBSCRIPTION}{subscription}", at_ms]
    reply = await _publish(log, replica.name, says, *heard)
    return Noted(int(reply[0]), frozenset(filter(None, reply[1].decode().split(","))))


async def leave(log: EventLog, name: str) -> None:
    """Note that a receiver stops."""
    await _publish(log, name, "")


async def _publish(log: EventLog, name: str, says: str, *heard: str | int) -> Any:
    limits = _MOST_HEARD, _KEEP_HEARD_MS
    return await log.scripts.publish(args=[log.prefix, name, LIVE_MS, says, *limits, *heard])


async def replicas(log: EventLog) -> list[Replica]:
    """Return the live receivers, sorted by name. Receivers of earlier releases are not among them."""
    now_ms, found = await _with_time(log, "replicas")
    alive = []
    for name, text in found.items():
        at_ms, _, says = text.partition("|")
        if (
            abs(now_ms - (whole(at_ms) or 0)) <= LIVE_MS
            and (one := readable(_replica, name, says)) is not None
        ):
            alive.append(one)
    return sorted(alive, key=lambda one: one.name)


async def silent_receivers(log: EventLog, alive: Iterable[Replica]) -> list[str]:
    """Return the receivers that beat but do not publish their keys: those of earlier releases."""
    now_ms, beats = await _with_time(log, "door")
    known = {one.name for one in alive}
    return sorted(
        name
        for name, at_ms in beats.items()
        if abs(now_ms - (whole(at_ms) or 0)) <= _BEATS_MS and name not in known
    )


async def heard(log: EventLog) -> Heard:
    """Return when events came last."""
    now_ms, found = await _with_time(log, "heard")
    types: dict[tuple[str, str], int] = {}
    subscriptions: dict[str, dict[str, int]] = {}
    by_key: dict[str, int] = {}
    for name, text in found.items():
        if (entry := _ENTRY.fullmatch(name)) and whole(text) is not None:
            key_id, mark, rest = entry.groups()
            if mark == _SUBSCRIPTION:
                subscriptions.setdefault(rest, {})[key_id] = int(text)
            elif rest:
                types[key_id, rest] = int(text)
            else:
                by_key[key_id] = int(text)
    return Heard(now_ms, types, subscriptions, by_key)


def _replica(name: str, text: str) -> Replica:
    says = json.loads(text)
    return Replica(name, frozenset(says.get("keys", ())), says.get("api_key", ""), says.get("url", ""))


async def _with_time(log: EventLog, name: str) -> tuple[int, dict[str, str]]:
    async with log.redis.pipeline(transaction=False) as asked:
        asked.hgetall(log.key(name))
        asked.time()
        found, at = await asked.execute()
    return redis_ms(at), {
        k.decode("utf-8", "replace"): v.decode("utf-8", "replace") for k, v in found.items()
    }
