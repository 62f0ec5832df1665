"""What `handlers check` finds in a handler that could be loaded. It runs in the child that loaded the plugin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from commands.plugin_check import Finding
    from handlers.declaration import Handler
    from handlers.discovery import Found


def findings_of(item: Found) -> Iterator[Finding]:
    """Yield everything that is wrong: settings, names of types, the filter and the key."""
    from handlers.code_places import place_of
    from workers.delivery.filter_check import filter_fault
    from workers.delivery.key_check import key_fault

    handler = item.handler
    yield from ((said, handler.place) for said in _settings(handler))
    yield from ((said, handler.place) for said in _types(handler))
    if (fault := filter_fault(handler)) is not None:
        yield fault, place_of(handler.where) or handler.place
    if (fault := key_fault(handler)) is not None:
        yield fault, place_of(handler.key) or handler.place


def _settings(handler: Handler) -> list[str]:
    """Read the settings as a worker does when it starts."""
    from pydantic import ValidationError

    from handlers.load_faults import described
    from handlers.settings_faults import settings_faults

    if handler.settings is None:
        return []
    try:
        handler.settings()
    except ValidationError as error:
        return settings_faults(error, handler.settings)
    except Exception as error:  # noqa: BLE001 - the author's code
        return [f"its settings cannot be read: {described(error)}"]
    return []


def _types(handler: Handler) -> Iterator[str]:
    """Name the wanted types that this release does not know, where the author does not say that they are newer."""
    from ampeco.nearest import SURELY, did_you_mean, nearest
    from commands.type_names import known_types
    from handlers.declaration import EVERYTHING
    from handlers.event import Raw, is_timer
    from handlers.names import Other

    if handler.models and all(map(is_timer, handler.models)):
        yield "it wants timers alone, and only its other events can set one: Event[SessionUpdate | Timer]"
    known = known_types()
    for name, model in handler.models.items():
        if name in known or name == EVERYTHING or is_timer(name):
            continue
        if model is Raw and not isinstance(name, Other):
            meant = did_you_mean(name, known)
            yield f"on= names the unknown type {name!r}{meant}; a newer one is written other({str(name)!r})"
        elif (found := nearest(name, known, alike=SURELY)) is not None:
            yield f"it wants the unknown type {str(name)!r}; did you mean {found!r}?"
