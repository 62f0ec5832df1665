"""What a notification of each known type may look like, to be sent by hand or to be taken apart in a test.

Types that the fleet lives through look as it sends them; the others as `bodies.json` has them, which for most types
is a guess (see NOTIFICATIONS.md).
"""

import json
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from ampeco.simulator.fleet import ANNOUNCED, Fleet

_FIRST_SESSION_ID = 900_001  # out of the way of a scenario's
_LOOK_AHEAD = 1_000
_BODIES = Path(__file__).with_name("bodies.json")


def sample(notification: str, at: datetime) -> dict[str, Any]:
    """A notification as the simulator's first charge point sends it; of types nobody knows the name alone.

    Args:
        at: when it happens, more or less.
    """
    if notification in ANNOUNCED:
        fleet = Fleet(1, seed=2, start_at=at, first_session_id=_FIRST_SESSION_ID)
        for _ in range(_LOOK_AHEAD):
            announced = fleet.next()
            if announced.notification == notification:
                body: dict[str, Any] = json.loads(announced.body)
                return body
    known: dict[str, Any] = json.loads(_bodies()).get(notification, {})
    return {**known, "notification": notification}


@cache
def _bodies() -> str:
    return _BODIES.read_text() if _BODIES.exists() else "{}"
