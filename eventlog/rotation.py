"""The record of a rotation of the API token: how far it is, so that it can go on after any interruption.

It holds ids of keys and of notification subscriptions, never a key.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from eventlog.reading import readable

if TYPE_CHECKING:
    from eventlog.log import EventLog

Step = Literal["begun", "subscribing", "subscribed", "delivering", "removed"]
"""How far a rotation is.

`begun`: it waits until every receiver accepts the new key. `subscribing`: a second subscription is made, or was made.
`subscribed`: it exists. `delivering`: an event signed with the new key came, or the operator says so. `removed`: the
first subscription is gone, and the new token has to take the place of the old one in the settings.
"""


@dataclass(frozen=True)
class Rotation:
    """A rotation that is not finished.

    Attributes:
        old_key, new_key: ids of the two API tokens.
        before: ids of the subscriptions for our URL that existed before the new one.
        new_id: id of the new subscription.
        started_ms, subscribed_ms: when it began, and when the new subscription existed (Unix ms, clock of Redis).
        seen_by: what shows that the new key delivers: `event` or `operator`.
    """

    step: Step
    old_key: str
    new_key: str
    started_ms: int
    before: tuple[str, ...] = ()
    new_id: str = ""
    subscribed_ms: int = 0
    seen_by: str = ""

    def at(self, step: Step, **changes: Any) -> Rotation:
        """Return this rotation at a later step."""
        return replace(self, step=step, **changes)


async def rotation(log: EventLog) -> Rotation | None:
    """Return the rotation that is under way; None if there is none."""
    raw = await log.redis.hget(log.key("rotation"), "state")
    if raw is None:
        return None
    return readable(_rotation, raw)


def _rotation(raw: bytes) -> Rotation:
    found = json.loads(raw)
    known = {name: value for name, value in found.items() if name in Rotation.__dataclass_fields__}
    return Rotation(**{**known, "before": tuple(known.get("before", ()))})


async def write_rotation(log: EventLog, state: Rotation) -> None:
    """Write down how far a rotation is. Call it under the lock of the subscription."""
    await log.redis.hset(log.key("rotation"), "state", json.dumps({"v": 1, **asdict(state)}))


async def end_rotation(log: EventLog) -> None:
    """Forget a rotation that is finished, or that is given up before it made a subscription."""
    await log.redis.delete(log.key("rotation"))
