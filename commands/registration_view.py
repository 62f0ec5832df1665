"""The output of the `registration` commands: as a document, and as lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commands.output import print_fields, print_line, print_table
from commands.spans import counted
from commands.type_names import misspelled
from eventlog.clock import rfc3339

if TYPE_CHECKING:
    from eventlog.registration_record import Registration
    from eventlog.replicas import Heard, Replica
    from eventlog.rotation import Rotation
    from receiver.registration import Existing
    from receiver.registration_check import Look, Wanted


@dataclass(frozen=True)
class Shown:
    """The facts of `registration show`; `look` is None when AMPECO gave no answer."""

    callback_url: str
    stored: Mapping[str, str]
    registration: Registration
    wanted: Wanted
    replicas: Sequence[Replica]
    heard: Heard
    rotation: Rotation | None
    look: Look | None


def document(found: Shown) -> dict[str, Any]:
    """Return all of it as one document."""
    known = found.registration
    return {
        "callback_url": found.callback_url,
        "subscription_id": found.stored.get("id"),
        "state": state_of(found),
        "detail": known.detail or None,
        "confirmed_at": _at(known.confirmed_ms),
        "looked_at": _at(known.looked_ms),
        "removed_at": _at(known.removed_ms),
        "missing": [
            {"reason": reason, "since": rfc3339(one.since_ms), "types": sorted(one.types)}
            for reason, one in known.missing.items()
        ],
        "subscriptions": None
        if found.look is None
        else [_subscription(found.look, one) for one in _sorted(found)],
        "plan": None if found.look is None else plan_document(found.look),
        "wanted": wanted_by(found.wanted, found.wanted.types),
        "receivers": [
            {
                "name": one.name,
                "callback_url": one.url or None,
                "accepted_key_ids": sorted(one.accepted),
                "api_key_id": one.api_key or None,
            }
            for one in found.replicas
        ],
        "last_events": [
            {"key_id": key_id, "type": type_, "at": rfc3339(at_ms)}
            for (key_id, type_), at_ms in sorted(found.heard.types.items(), key=lambda item: -item[1])
        ],
        "rotation": None if found.rotation is None else rotation_document(found.rotation),
    }


def state_of(found: Shown) -> str:
    """Return the state in one word."""
    if found.registration.removed_ms is not None:
        return "removed"
    if found.look is not None and found.look.foreign:
        return "two-urls"
    return found.registration.state or "unknown"


def rotation_document(rotation: Rotation) -> dict[str, Any]:
    """Return how far a rotation of the API token is."""
    return {
        "step": rotation.step,
        "old_key_id": rotation.old_key,
        "new_key_id": rotation.new_key,
        "new_subscription_id": rotation.new_id or None,
        "started_at": rfc3339(rotation.started_ms),
        "seen_by": rotation.seen_by or None,
    }


def plan_document(look: Look) -> dict[str, Any]:
    """Return a plan as a document."""
    plan = look.plan
    return {
        "action": plan.action,
        "subscription_id": plan.keep,
        "types": wanted_by(look.wanted, plan.types),
        "adds": list(plan.adds),
        "drops": list(plan.drops),
        "moves_from": plan.moved_from,
        "removes": list(plan.extras),
        "leaves": list(plan.left),
        "leaves_why": _why_left(look),
        "lifts_removal": look.registration.removed_ms is not None,
        "blocked": foreign_line(look) if look.foreign else None,
    }


def has_changes(look: Look) -> bool:
    """Return whether `apply` would change something."""
    return bool(look.plan.types) and (look.plan.changes or look.registration.removed_ms is not None)


def foreign_line(look: Look) -> str:
    """Say that other receivers of this log have another URL."""
    from receiver.registration_check import foreign_words

    return f"{foreign_words(look)}; stop them, or give all receivers the same AWR_PUBLIC_URL"


def print_plan(look: Look) -> None:
    """Print a plan, one line per change."""
    plan = look.plan
    if look.registration.removed_ms is not None:
        print_line(f"removed on request at {rfc3339(look.registration.removed_ms)}; `apply` makes it again")
    if look.foreign:
        print_line(foreign_line(look))
    if not plan.types:
        print_line("no handler wants a notification, so nothing changes")
        return
    wanted, types = wanted_by(look.wanted, plan.types), counted(len(plan.types), "type")
    match plan.action:
        case "create":
            print_line(f"make a notification subscription for {types}")
        case "update":
            print_line(f"change {plan.keep}, which then has {types}")
        case _:
            print_line(f"keep {plan.keep} with {types}")
    if plan.moved_from:
        print_line(f"  deliver to our URL instead of {plan.moved_from}")
    for name in plan.adds:
        who = ", ".join(wanted[name]) or "AWR_NOTIFICATIONS"
        print_line(f"  + {name} ({who}){misspelled(name, surely=True)}")
    for name in plan.drops:
        print_line(f"  - {name}")
    for one in plan.extras:
        print_line(f"remove {one}")
    for one in plan.left:
        print_line(f"leave {one}, which delivers to our URL as well: {_why_left(look)}")


def print_all(found: Shown) -> None:
    """Print everything, for people."""
    known = found.registration
    print_fields(
        {
            "callback": found.callback_url,
            "state": state_of(found) + (f": {known.detail}" if known.detail else ""),
            "confirmed": _at(known.confirmed_ms),
            "last check": _at(known.looked_ms),
            "missing": [
                f"since {rfc3339(one.since_ms)}: {', '.join(sorted(one.types))}"
                for one in known.missing.values()
            ],
            "rotation": None
            if found.rotation is None
            else f"open, {found.rotation.step}; see `rotate-token`",
        }
    )
    if found.look is not None:
        print_line("")
        print_table(
            ["subscription", "callback", "ours", "made here", "keys", "last event", "types"],
            [_row(_subscription(found.look, one)) for one in _sorted(found)],
        )
    print_line("")
    types = [*found.look.plan.types] if found.look is not None else sorted(found.wanted.types)
    there = found.look.registration.covers if found.look is not None else known.covers
    last = _last_by_type(found.heard)
    print_table(
        ["type", "confirmed", "wanted by", "last event"],
        [
            (name, "yes" if name in there else "no", ", ".join(handlers), _at(last.get(name)))
            for name, handlers in wanted_by(found.wanted, types).items()
        ],
    )
    print_line("")
    keys = found.heard.by_key
    print_table(["key", "last event"], [(key_id, rfc3339(keys[key_id])) for key_id in sorted(keys)])
    print_line("")
    print_table(
        ["receiver", "accepts keys", "calls with", "callback"],
        [(one.name, " ".join(sorted(one.accepted)), one.api_key, one.url) for one in found.replicas],
    )


def wanted_by(wanted: Wanted, types: Iterable[str]) -> dict[str, list[str]]:
    """Return the handlers that want each type; a pinned type has none."""
    from receiver.subscribed_types import subscribable

    spelled = {name: subscribable(of) for name, of in wanted.handlers.items()}
    return {type_: sorted(name for name, of in spelled.items() if type_ in of) for type_ in types}


def _sorted(found: Shown) -> list[Existing]:
    assert found.look is not None  # noqa: S101 - asked by callers
    return sorted(found.look.existing, key=lambda one: (not _is_ours(found.look, one), one.id))


def _is_ours(look: Look | None, one: Existing) -> bool:
    return look is not None and one.id in (look.plan.keep, *look.plan.left, *look.plan.extras)


def _subscription(look: Look, one: Existing) -> dict[str, Any]:
    heard = look.heard.subscriptions.get(one.id, {})
    return {
        "id": one.id,
        "via": one.via,
        "callback_url": one.callback_url,
        "types": list(one.notifications),
        "ours": _is_ours(look, one),
        "made_by_this_log": one.id in look.registration.made,
        "key_ids": sorted(look.known.keys.get(one.id, ())),
        "last_event_at": _at(max(heard.values(), default=None)),
    }


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        one["id"],
        one["callback_url"] or one["via"],
        "yes" if one["ours"] else "no",
        "yes" if one["made_by_this_log"] else "no",
        " ".join(one["key_ids"]),
        one["last_event_at"],
        len(one["types"]),
    )


def _why_left(look: Look) -> str | None:
    if not look.plan.left:
        return None
    return look.known.held or "no record ties it to a key that is out of use; `apply --remove ID` removes it"


def _last_by_type(heard: Heard) -> dict[str, int]:
    last: dict[str, int] = {}
    for (_, type_), at_ms in heard.types.items():
        last[type_] = max(at_ms, last.get(type_, 0))
    return last


def _at(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)
