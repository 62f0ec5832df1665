"""Finds the notifications that show the effect of a call of ours, as far as the published contract tells.

No notification names its cause. So a notification *reflects* a call under three conditions. It is about an entity in
the call's path, its type announces what the operation does, and where both name the same fact, they agree. Another
cause may have had the same effect at that moment. Knows no time: callers decide for how long a call can be reflected.

Source: published contract v3.110.0 (callbacks, bodies and paths of the operations), but for two readings of our own:
an inoperative charge point reports `unavailable`, and a reset or new firmware ends in a boot.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from pydantic_core import from_json

from ampeco.operations import Operation
from ampeco.paths import at, steps_of
from ampeco.wire import WireRequest

_MOST_CHARS = 60
_ENTITIES: Mapping[str, str] = {
    "chargePoint": "charge-point",
    "circuit": "circuit",
    "evse": "evse",
    "idTag": "id-tag",
    "installerJob": "installer-job",
    "location": "location",
    "parkingSpace": "parking-space",
    "partner": "partner",
    "partnerInvite": "partner-invite",
    "reservation": "reservation",
    "session": "session",
    "subOperator": "sub-operator",
    "tariff": "tariff",
    "transaction": "transaction",
    "user": "user",
}
"""Parameter of a path -> the entity that it is the id of, as in entity keys."""


class Effect(NamedTuple):
    """One way in which an operation shows.

    Attributes:
        types: notification types that announce it.
        path: where the payload says what the call asked for; empty = the type alone is compared.
        words: the call's word -> the payload's word (`!` before it: any other); None = the same word. A call whose
            word is not among them has no such effect.
    """

    types: tuple[str, ...]
    path: str = ""
    words: Mapping[str, str] | None = None


class Rule(NamedTuple):
    """The effects of an operation, and the member of its body that holds the call's word."""

    effects: tuple[Effect, ...]
    member: str = ""


_HARDWARE = ("HardwareStatusNotification",)
_BOOT = ("BootNotification",)
_NETWORK = ("NetworkStatusNotification",)
_DIAGNOSTICS = ("DiagnosticsStatusNotification",)
_SYNC = Rule((Effect(("ChargePointSyncConfigurationNotification",)),))
_PROFILE = Rule((Effect(("chargingProfile.applied",)),))
_CHARGE_POINT = ("chargePoint.changed", "ChargePointChangedNotification")
_SESSION = ("SessionUpdateNotification",)
_START_STOP = ("session.start.stop.notification", "SessionStartStopNotification")
_RESERVATION = ("reservation.changed", "ReservationChangedNotification")
_SUBSCRIPTION = ("user.subscription.changed", "user.subscriptionChanged")
_BALANCE = Rule((Effect(("userBalance.changed",)),))
_TRIGGERED = Rule(
    (
        Effect(_BOOT, words={"BootNotification": ""}),
        Effect(_DIAGNOSTICS, words={"DiagnosticsStatusNotification": ""}),
        Effect(_HARDWARE, words={"StatusNotification": ""}),
    ),
    "type",
)

RULES: Mapping[str, Rule] = {
    "charge-point.change-availability": Rule(
        (Effect(_HARDWARE, "hardwareStatus", {"Inoperative": "unavailable", "Operative": "!unavailable"}),),
        "type",
    ),
    "charge-point.change-owner": Rule((Effect(_CHARGE_POINT),)),
    "charge-point.change-sharing-code": Rule((Effect(_CHARGE_POINT),)),
    "charge-point.clear-charging-profile": _PROFILE,
    "charge-point.disconnect": Rule((Effect(_NETWORK),)),
    "charge-point.get-diagnostics": Rule((Effect(_DIAGNOSTICS),)),
    "charge-point.reserve": Rule((Effect(_HARDWARE, "hardwareStatus", {"": "reserved"}),)),
    "charge-point.reset": Rule((Effect((*_BOOT, *_NETWORK, *_HARDWARE)),)),
    "charge-point.set-charging-profile": _PROFILE,
    "charge-point.set-configuration": _SYNC,
    "charge-point.start": Rule((Effect(_HARDWARE),)),
    "charge-point.start-without-evse": Rule((Effect(_HARDWARE),)),
    "charge-point.stop": Rule((Effect((*_START_STOP, *_SESSION, *_HARDWARE)),)),
    "charge-point.sync-configuration": _SYNC,
    "charge-point.trigger-message": _TRIGGERED,
    "charge-point.unlock": Rule((Effect(_HARDWARE),)),
    "charge-point.update-firmware": Rule((Effect((*_BOOT, *_NETWORK, *_HARDWARE)),)),
    "circuit.attach-charge-point": Rule((Effect(("circuit.changed",)),)),
    "circuit.detach-charge-point": Rule((Effect(("circuit.changed",)),)),
    "installer-job.assign-charge-points": Rule((Effect(("installerJob.changed",)),)),
    "installer-job.change-status": Rule((Effect(("installerJob.changed",), "status"),), "status"),
    "parking-space.update-occupancy-status": Rule(
        (Effect(("parkingSpace.occupancyStatus.changed",), "occupancyStatus"),), "status"
    ),
    "reservation.cancel": Rule((Effect(_RESERVATION, "status", {"": "canceled"}),)),
    "session.assign-user": Rule((Effect(_SESSION),)),
    "session.change-tariff": Rule((Effect(_SESSION),)),
    "session.retry-payment": Rule((Effect(_SESSION),)),
    "transaction.issue-invoice": Rule((Effect(("transaction.changed",)),)),
    "transaction.update-payment-reference": Rule((Effect(("transaction.changed",)),)),
    "user.activate-subscription": Rule((Effect(_SUBSCRIPTION, "status", {"": "active"}),)),
    "user.add-balance": _BALANCE,
    "user.apply-custom-fee": _BALANCE,
    "user.cancel-subscription": Rule((Effect(_SUBSCRIPTION, "status", {"": "!active"}),)),
    "user.change-status": Rule((Effect(("UserChangedNotification",), "user.status"),), "status"),
    "user.redeem-voucher": _BALANCE,
}
"""Actions. What resources announce when they are written is in `CHANGED`."""

CHANGED: Mapping[str, tuple[str, ...]] = {
    "resources.charge-points": _CHARGE_POINT,
    "resources.charge-points.evses": ("evse.changed",),
    "resources.charge-points.evses.connectors": ("evse.changed",),
    "resources.circuits": ("circuit.changed",),
    "resources.evses": ("evse.changed",),
    "resources.id-tags": ("idTag.changed",),
    "resources.locations": ("LocationChangedNotification",),
    "resources.partner-invites": ("partnerInvite.changed", "PartnerInviteChangedNotification"),
    "resources.partners": ("partner.changed", "PartnerChangedNotification"),
    "resources.sub-operators": ("SubOperatorChangedNotification",),
    "resources.tariffs": ("TariffChangedNotification",),
    "resources.transactions": ("transaction.changed",),
    "resources.users": ("UserChangedNotification",),
    "resources.users.invoice-details": ("user.invoiceDetails.changed",),
    "resources.users.payment-methods": ("user.paymentMethod.changed", "PaymentMethodChangedNotification"),
}
"""Noun that is written -> the types that announce it, whose `action` says how."""

_WRITTEN: Mapping[str, str] = {
    "create": "created",
    "update": "updated",
    "replace": "updated",
    "delete": "deleted",
}


def rule_of(operation: str) -> Rule | None:
    """Return how an operation shows, by its name; None where no notification is known to show it."""
    noun, _, verb = operation.rpartition(".")
    if noun in CHANGED and verb in _WRITTEN:
        inner = noun.endswith(".connectors")  # the EVSE around it is updated
        return Rule((Effect(CHANGED[noun], "action", {"": "updated" if inner else _WRITTEN[verb]}),))
    return RULES.get(operation)


def entities_of(operation: Operation, path: str) -> tuple[str, ...]:
    """Return the keys of the entities in the path of a call, as notifications about them have them."""
    found = []
    template, segments = operation.path.split("/"), path.split("/")
    if len(template) == len(segments):
        for place, segment in zip(template, segments, strict=True):
            entity = _ENTITIES.get(place[1:-1]) if place.startswith("{") else None
            text = unquote(segment)
            if entity is not None and 0 < len(text) <= _MOST_CHARS:
                found.append(f"{entity}:{text}")
    return tuple(dict.fromkeys(found))


def word_of(request: WireRequest) -> str:
    """Return the call's word for what it asks for; empty where its rule compares none. Never a free text."""
    rule = rule_of(request.operation.name)
    if rule is None or not rule.member:
        return ""
    try:
        body = from_json(request.body)
    except ValueError:
        return ""
    value = body.get(rule.member) if isinstance(body, dict) else None
    return value[:_MOST_CHARS] if isinstance(value, str) else ""


def reflects(operation: str, word: str, notification_type: str, data: Mapping[str, Any]) -> bool:
    """Return whether a notification about the same entity shows what a call has done.

    Args:
        word: of the call (`word_of`).
        data: the decoded payload.
    """
    rule = rule_of(operation)
    effects = () if rule is None else rule.effects
    return any(_shows(effect, word, data) for effect in effects if notification_type in effect.types)


def _shows(effect: Effect, word: str, data: Mapping[str, Any]) -> bool:
    expected = word if effect.words is None else effect.words.get(word)
    if expected is None:
        return False
    if not effect.path:
        return True
    said = at(data, steps_of(effect.path))
    if not isinstance(said, str):
        return False
    if expected.startswith("!"):
        return said.lower() != expected[1:]
    return said.lower() == expected.lower()


def markdown_table() -> str:
    """Render the rules for the README."""
    rows = ["| call | shows as |", "|---|---|"]
    for name, rule in sorted(RULES.items()):
        effects = "; ".join(_described(effect, rule) for effect in rule.effects)
        rows.append(f"| `{name}` | {effects} |")
    for noun, types in sorted(CHANGED.items()):
        named = ", ".join(f"`{name}`" for name in types)
        rows.append(f"| writes of `{noun}` | {named}, with the `action` |")
    return "\n".join(rows) + "\n"


def _described(effect: Effect, rule: Rule) -> str:
    types = ", ".join(f"`{name}`" for name in effect.types)
    if not effect.path and effect.words:
        return f"{types} when `{rule.member}` is {', '.join(f'`{word}`' for word in effect.words)}"
    if not effect.path:
        return types
    if effect.words is None:
        return f"{types} whose `{effect.path}` is `{rule.member}`"
    words = " or ".join(
        f"{'not ' if word.startswith('!') else ''}`{word.removeprefix('!')}`"
        + (f" for `{asked}`" if asked else "")
        for asked, word in effect.words.items()
    )
    return f"{types} whose `{effect.path}` is {words}"
