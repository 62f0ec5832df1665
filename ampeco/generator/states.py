"""Enums of the contract -> `ampeco/states.py`: words for states, to compare with."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ampeco.facts.shapes import schema_of
from ampeco.generator.classes import plain
from ampeco.generator.facts import GENERATED, PACKAGE, facts, formatted
from ampeco.generator.objects import callback

_EVSES = "GET /public-api/resources/evses/v2.1/{evse}"
_CHARGE_POINTS = "GET /public-api/resources/charge-points/v2.0/{chargePoint}"
_TRANSACTIONS = "GET /public-api/resources/transactions/v1.0/{transaction}"
_SESSION = "SessionUpdateNotification"

# Class -> (what it is, where its words are: an operation or a callback, and the path of the field).
_STATES = {
    "Hardware": (
        "Hardware status of an EVSE; a charge point has `available`, `unavailable` and `faulted` only.",
        ((_EVSES, "hardwareStatus"),),
    ),
    "Network": (
        "Whether a charge point is online, in the one normal form of `normal_network_status`.",
        ((_CHARGE_POINTS, "networkStatus"),),
    ),
    "Administrative": (
        "What an operator decided about a charge point or an EVSE. v1.0 says `active` where v2 says `enabled`.",
        (
            ("ChargePointChangedNotification", "chargePoint.status"),
            (_CHARGE_POINTS, "status"),
            (_EVSES, "status"),
        ),
    ),
    "Session": ("Status of a session.", ((_SESSION, "session.status"),)),
    "SessionReason": (
        "Why a session ended: AMPECO's own words and OCPP's, the latter in lower case.",
        ((_SESSION, "session.reason"),),
    ),
    "Reservation": ("Status of a reservation.", (("reservation.changed", "status"),)),
    "Transaction": ("Status of a payment.", ((_TRANSACTIONS, "status"),)),
}
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z0-9]+")


def outputs() -> dict[Path, str]:
    """The module."""
    classes = "\n\n\n".join(_class(name, said, _values(places)) for name, (said, places) in _STATES.items())
    path = PACKAGE / "states.py"
    return {path: formatted(path, f"{_HEAD}\n\n{classes}\n{_TAIL}")}


def _class(name: str, said: str, values: Iterator[str]) -> str:
    members = "\n".join(f'    {_HUMP.sub("_", value).upper()} = "{value}"' for value in dict.fromkeys(values))
    return f'class {name}(StrEnum):\n    """{said}"""\n\n{members}'


def _values(places: tuple[tuple[str, str], ...]) -> Iterator[str]:
    contract = facts("contract.json")
    for source, path in places:
        if source in contract["callbacks"]:
            here: dict[str, Any] = callback(source)
        else:
            answer = contract["operations"][source]["answers"]["200"]
            here = plain(schema_of(answer, contract["shared"]))
            here = here["properties"].get("data", here)
        for name in path.split("."):
            here = plain(here)["properties"][name]
        yield from (value for value in plain(here)["enum"] if value is not None)


_HEAD = f'''# {GENERATED}
"""Words for states: what AMPECO sends in `status`, `hardware_status`, `network_status` and `reason`.

A member equals the text that AMPECO sends (`payload.hardware_status == Hardware.FAULTED`). AMPECO may add words, so
the fields of payloads are text, and a new word is not an error.

Source: published contract v3.110.0 (enums of its callbacks and answers).
"""

from enum import StrEnum
from typing import overload
'''

_TAIL = '''

@overload
def normal_network_status(status: str) -> str: ...
@overload
def normal_network_status(status: None) -> None: ...
def normal_network_status(status: str | None) -> str | None:
    """The network status as `Network` spells it, from either spelling of AMPECO.

    The notification says `temporarily unavailable`, a charge point v2.0 `temporarily_unavailable`.
    """
    return None if status is None else status.strip().lower().replace(" ", "_")
'''
