"""What needs a person now, as sentences that end with what to do. Pure: it judges one overview."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from commands.delivery_text import unreadable_text
from commands.explain_text import gap_words
from commands.fault_words import fault_words
from commands.forecast_words import forecast_words
from commands.outage_words import away_words
from commands.spans import counted, span
from eventlog.clock import rfc3339
from eventlog.turned_away import SLOT_MS

if TYPE_CHECKING:
    from eventlog.inspection.overview import Overview
    from eventlog.rates import Attempts

_OLD_S = 600.0
_LONG_OPEN_MS = 7_200_000
_DAY_MS = 86_400_000
_SILENT_MS = 3_600_000
_HOUR_MS = 3_600_000
_MANY = 5  # attempts
_MANY_REFUSED, _QUIET_MS = 20, 60_000
_WEEK_MS = 7 * _DAY_MS  # after that, registration is off on purpose


def needs(found: Overview) -> list[str]:
    """Return what needs a person, the most urgent first."""
    return [*_of_the_log(found), *_of_the_endpoint(found), *_of_handlers(found)]


def _of_the_log(found: Overview) -> Iterator[str]:
    server = found.server
    if found.standing is not None and found.standing.full:
        yield f"the log is full, so events are refused: {found.standing.full}; `handlers list` shows all"
    if found.forecast is not None and not found.forecast.fits:
        yield f"{forecast_words(found.forecast)}: raise AWR_LOG_MAX_BYTES (and maxmemory), or lower AWR_KEEP_HOURS"
    if server.evicts:
        yield f"Redis may delete events (maxmemory-policy {server.policy}): set noeviction"
    if server.keeps_file is False:
        yield "Redis keeps no append-only file, so its restart loses events: set appendonly yes"
    if server.file_fault:
        yield f"Redis cannot write its file ({server.file_fault}): check its disk"


def _of_the_endpoint(found: Overview) -> Iterator[str]:
    if found.claimed and not found.receivers:
        yield "no receiver is alive, so nothing is accepted: start one"
    yield from _of_the_registration(found)
    if found.newest_ms is not None and found.at_ms - found.newest_ms > _SILENT_MS:
        hours = (found.at_ms - found.newest_ms) / _SILENT_MS
        yield f"no event has arrived for {hours:.1f} hours: `doctor` checks the registration and the callback URL"
    if refused := _only_refused(found):
        yield (
            f"{refused:,} requests with a wrong signature in ten minutes, and no event: the key that signs is not "
            "accepted; `registration show` names the keys"
        )
    if refused := _refused_now(found, "log-refused"):
        yield (
            f"Redis did not take {counted(refused, 'event')} in ten minutes: `log.unreadable` names the key "
            "(deploy/README.md, Keys of a wrong type)"
        )
    for gap in found.gaps:
        age_ms = found.at_ms - gap.to_ms
        if gap.is_final and gap.state != "closed" and age_ms < _DAY_MS:
            yield f"{gap_words(gap)}: `gaps list` names the types, `explain` the entities that are concerned"
        elif not gap.is_final and gap.state == "open" and _LONG_OPEN_MS < age_ms < _DAY_MS:
            yield f"{gap_words(gap)}, and that is not settled: `gaps list` says what it waits for"
    if found.quarantined:
        bodies = counted(found.quarantined, "body", "bodies")
        yield f"in quarantine: {bodies}; `quarantine list` shows why, then `quarantine retry`"


def _only_refused(found: Overview) -> int:
    """Return how many signatures were refused lately; 0 if there are few, or if an accepted key verified an event."""
    refused = _refused_now(found, "signature-mismatch")
    is_silent = found.at_ms - max(found.keys.values(), default=0) > _QUIET_MS
    return refused if is_silent and refused >= _MANY_REFUSED else 0


def _refused_now(found: Overview, reason: str) -> int:
    """Return how many requests were refused for this reason in the newest ten minutes that have any."""
    begun_ms, reasons = max(found.refused_slots.items(), default=(0, {}))
    return reasons.get(reason, 0) if found.at_ms - begun_ms < 2 * SLOT_MS else 0


def _of_the_registration(found: Overview) -> Iterator[str]:
    known = found.registration
    if known.removed_ms is not None:
        yield "our notification subscription is removed on request: `registration apply` makes it again"
        return
    if known.looked_ms is not None and _LONG_OPEN_MS < found.at_ms - known.looked_ms < _WEEK_MS:
        hours = (found.at_ms - known.looked_ms) / _HOUR_MS
        yield (
            f"nothing has checked the registration for {hours:.0f} hours: "
            "start `registration watch`, or a receiver without AWR_REGISTER=off"
        )
    if known.state.startswith("failed"):
        detail = f" ({known.detail})" if known.detail else ""
        yield f"the registration cannot be checked: {known.state}{detail}; `registration show` says more"
    for one in known.missing.values():
        yield f"since {rfc3339(one.since_ms)} not subscribed: {', '.join(sorted(one.types))}; `registration plan`"


def _of_handlers(found: Overview) -> Iterator[str]:
    for (name, lane), record in sorted(found.stopped.items()):
        yield f"{name}, lane {lane}: {unreadable_text(record)}"
    if found.handlers and not found.processes:
        yield "no worker is alive, so nothing is handled: start one"
        return
    for name, faulty in found.faulty.items():
        yield f"{name} is {fault_words(faulty)}"
    for handler in found.handlers:
        name, pause = handler.name, found.paused.get(handler.name)
        if pause is not None:
            reason = f" ({pause.reason})" if pause.reason else ""
            yield f"{name} is paused{reason}: `handlers resume {name}` when that is over"
        elif name in found.faulty and not found.is_served(handler):
            pass  # said above
        elif not found.is_served(handler) and (handler.waiting or handler.open):
            yield f"no live worker serves {name}: start one with its plugin, or `handlers retire {name}`"
        elif name in found.away:
            yield f"{name} is held: {away_words(found.away[name])}"
        elif (lately := found.attempts.get(name)) is not None and _mostly_fails(lately):
            attempts, minutes = counted(lately.total, "attempt"), counted(lately.minutes, "minute")
            yield (
                f"{name} fails, {lately.failed:,} of {attempts} in {minutes}: its lines delivery.retry_scheduled "
                f"and delivery.dead say where; `handlers pause {name}` if it does harm"
            )
        elif handler.oldest_age_s is not None and handler.oldest_age_s > _OLD_S:
            yield f"{name} has an event that waits for {span(handler.oldest_age_s)}: `explain` says why"
        if handler.dead:
            yield f"{name} has {counted(handler.dead, 'dead letter')}: `dead list --handler {name}`"


def _mostly_fails(lately: Attempts) -> bool:
    """Return whether a handler fails by the rule of the alert AwrHandlerFailing."""
    return lately.failed >= _MANY and lately.failed > lately.total / 2
