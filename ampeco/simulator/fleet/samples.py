"""Samples of each known notification type, with ids that the simulator's API knows.

Types that the fleet sends look as it sends them; the others are samples of the contract with other ids.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ampeco.contract.samples import samples
from ampeco.simulator.fleet.fleet import Fleet
from ampeco.simulator.fleet.world import known_ids

_FIRST_SESSION_ID = 900_001  # out of the way of a scenario's
_ID_NAME = re.compile(r"(?P<noun>\w+)Id")


def sample(
    notification: str, at: datetime, fleet: Fleet | None = None, charge_point_id: int | None = None
) -> dict[str, Any]:
    """Return a notification of a type; of an unknown type, its name alone.

    Args:
        at: when it happens, more or less; used without a fleet.
        fleet: whose things it names; None = of a fleet that no API knows.
        charge_point_id: which one it is about.
    """
    if fleet is None:
        fleet = Fleet(1, seed=2, start_at=at, first_session_id=_FIRST_SESSION_ID)
        fleet.warm_up()
    shown = fleet.show(notification, charge_point_id)
    if shown is not None:
        body: dict[str, Any] = json.loads(shown.body)
        return body
    known = samples(notification)
    if not known:
        return {"notification": notification}
    named: dict[str, Any] = _named(
        known[0].body, known_ids(fleet, charge_point_id), notification.split(".")[0]
    )
    return named


def _named(value: Any, ids: Mapping[str, int | str], owner: str) -> Any:
    """The same with ids of things that exist.

    Args:
        owner: noun that the value describes: an `id` in it is the id of such a thing.
    """
    if isinstance(value, list):
        return [_named(element, ids, owner.removesuffix("s")) for element in value]
    if not isinstance(value, dict):
        return value
    named = {}
    for name, inner in value.items():
        found = _ID_NAME.fullmatch(name)
        noun = owner if name == "id" else found["noun"] if found else ""
        if noun in ids and isinstance(inner, int | str):
            named[name] = str(ids[noun]) if isinstance(inner, str) else ids[noun]
        else:
            named[name] = _named(inner, ids, name)
    return named
