"""`status --json`: what the log knows about a deployment, as one document."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from commands.attention import needs
from commands.fault_words import fault_document
from commands.forecast_words import forecast_document
from commands.handler_list import standing
from commands.outage_words import away_document
from eventlog.clock import rfc3339

if TYPE_CHECKING:
    from eventlog.inspection.overview import Overview
    from eventlog.registry import HandlerPosition

_DAY_MS = 86_400_000


def document(found: Overview) -> dict[str, Any]:
    """Return everything as a JSON document."""
    from eventlog.rates import per_minute
    from eventlog.usage import describe

    server, gaps = found.server, gaps_lately(found)
    return {
        "at": rfc3339(found.at_ms),
        "tenant": found.claimed.get("url") or None,
        "registration": _registration_document(found),
        "key_ids": {key_id: rfc3339(at_ms) for key_id, at_ms in sorted(found.keys.items())},
        "last_event_at": None if found.newest_ms is None else rfc3339(found.newest_ms),
        "accepted": {
            "total": found.samples[-1].accepted,
            "per_minute": per_minute(found.samples, 5),
            "per_minute_last_hour": per_minute(found.samples, 60),
        },
        "refused_last_24_hours": dict(found.refused),
        "receivers": list(found.receivers),
        "workers": [
            {
                "process": process.label,
                "release": process.release or None,
                "handlers": sorted(process.parts),
                "lanes": sum(len(part.held | part.ending) for part in process.parts.values()),
            }
            for process in found.processes
        ],
        "handlers": [_handler_document(found, handler) for handler in found.handlers],
        "faulty": [fault_document(faulty) for faulty in found.faulty.values()],
        "gaps": [
            {
                "from": rfc3339(gap.from_ms),
                "to": rfc3339(gap.to_ms),
                "reason": gap.reason,
                "state": gap.state,
            }
            for gap in gaps
        ],
        "quarantined": found.quarantined,
        "redis": {
            "product": server.product,
            "role": server.role,
            "append_only_file": server.keeps_file,
            "appendfsync": server.fsync,
            "maxmemory_policy": server.policy or None,
            "used_memory": server.used_memory,
            "maxmemory": server.max_memory,
            "replicas": server.replicas,
            "evicted_keys": server.evicted_keys,
        },
        "log": None if found.standing is None else describe(found.standing),
        "forecast": forecast_document(found.forecast),
        "needs_attention": needs(found),
    }


def _handler_document(found: Overview, handler: HandlerPosition) -> dict[str, Any]:
    pause, lately = found.paused.get(handler.name), found.attempts.get(handler.name)
    return {
        "name": handler.name,
        **standing(handler),
        "retrying": found.retrying.get(handler.name, 0),
        "failed_attempts": handler.stats.get("retried", 0),
        "attempts_lately": None if lately is None else asdict(lately),
        "per_s": round(found.per_s(handler.name), 1),
        "is_served": found.is_served(handler),
        "served_by": found.served_by(handler.name),
        "away": away_document(found.away.get(handler.name)),
        "paused": None if pause is None else {"since": rfc3339(pause.since_ms), "reason": pause.reason},
    }


def subscribed_types(found: Overview) -> list[str]:
    """Return the types of our notification subscription, as it is recorded."""
    types = found.subscription.get("types", "")
    return types.split(",") if types else []


def gaps_lately(found: Overview) -> list[Any]:
    """Return the gaps of the last 24 hours."""
    return [gap for gap in found.gaps if found.at_ms - gap.to_ms < _DAY_MS]


def _registration_document(found: Overview) -> dict[str, Any]:
    stored, known = found.subscription, found.registration
    return {
        "id": stored.get("id"),
        "types": subscribed_types(found),
        "callback_url": stored.get("callback_url"),
        "key_id": stored.get("key_id") or None,
        "state": known.state or None,
        "detail": known.detail or None,
        "confirmed_at": _at(known.confirmed_ms),
        "checked_at": _at(known.looked_ms),
        "removed_at": _at(known.removed_ms),
        "missing": [
            {"reason": reason, "since": rfc3339(one.since_ms), "types": sorted(one.types)}
            for reason, one in known.missing.items()
        ],
    }


def _at(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)
