"""Which entity a notification is about, and when it says that happened; knows decoded JSON and the catalogue.

The key decides the lane and the order of handling, so the rules have a version. A log filled under one version must
not go on under another. Each name on a path may also be spelled in snake_case, as AMPECO's older
resources are.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from ampeco.catalogue import FALLBACK, KNOWN_TYPES, UNCONFIRMED_TYPES
from ampeco.known_type import Entity, KnownType, time_paths
from ampeco.models.fields import read_id, read_time
from ampeco.paths import Steps, at, snake, steps_of
from ampeco.regular_file import read_regular

KEY_MAX_BYTES = 200
_UTF8_MAX_BYTES = 4
_ENTITY = re.compile(r"[a-z][a-z0-9-]{0,39}")

_LISTED = {**KNOWN_TYPES, **UNCONFIRMED_TYPES}
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(hours=48)
_MOST_TIMES = (
    2_000  # that are read of one list; a body of 1 MiB can hold 35,000, and to read them takes 0.2 s
)

# Part of the version: to be changed when the same rules find other keys.
_READING = "ids that mean none are none"


class EntityKeyRules:
    """Where to look for the entity id of each type.

    Args:
        overrides: notification type -> entities to look for instead of the catalogue's. A type with an empty
            tuple gets no key at all: its notifications are handled in no order.

    Attributes:
        overridden: the types of the overrides.
        version: short digest of all the rules.
    """

    def __init__(self, overrides: Mapping[str, tuple[Entity, ...]] | None = None) -> None:
        self.overridden = frozenset(overrides or ())
        chosen = {name: known.entities for name, known in _LISTED.items()} | dict(overrides or {})
        self._entities = {
            name: compiled((*entities, *FALLBACK.entities) if entities else ())
            for name, entities in chosen.items()
        }
        self._fallback = compiled(FALLBACK.entities)
        self.version = _digest({**chosen, "": FALLBACK.entities})

    @classmethod
    def load(cls, path: Path) -> "EntityKeyRules":
        """Read overrides from a JSON file: `{"<type>": {"entity": "session", "paths": ["session.id"]}}`.

        A list of such objects names several entities, tried in order; the general fallbacks of the catalogue
        still follow them. With `"paths": []` the type gets no key at all.

        Raises:
            ValueError: the file cannot be read or says something else; one line that names the place.
        """
        try:
            document = from_json(read_regular(path))
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror or type(error).__name__}") from error
        except ValueError as error:
            raise ValueError(f"{path}: no readable JSON file ({type(error).__name__})") from error
        if not isinstance(document, dict):
            raise ValueError(f"{path}: must be a JSON object of notification types")
        return cls({name: _read_rule(f"{path}: {name}", rule) for name, rule in document.items()})

    def key(self, notification_type: str, data: Mapping[str, Any]) -> str | None:
        """`<entity>:<id>` of a decoded payload; None when it names no entity. Long ids are hashed."""
        for prefix, steps in self._entities.get(notification_type, self._fallback):
            found = read_id(at(data, steps))
            if found is not None:
                return bounded(prefix, found)
        return None

    def __repr__(self) -> str:
        return f"<EntityKeyRules {self.version}>"


def occurred_at(
    notification_type: str, data: Mapping[str, Any], received_at: datetime | None = None
) -> datetime | None:
    """The time of change that a payload itself states, as aware UTC; None when it states none.

    A placeholder is not a time, and the next place is tried: anything before 2000, and more than 48 h after arrival.

    Args:
        received_at: when the notification arrived, aware; None where that is not known.
    """
    latest = None if received_at is None else received_at + _AHEAD
    for steps, within in _TIMES.get(notification_type, _FALLBACK_TIMES):
        place = at(data, steps)
        if place is not None:
            found = _moment(place, latest) if within is None else _newest(place, within, latest)
            if found is not None:
                return found
    return None


def _moment(value: object, latest: datetime | None) -> datetime | None:
    """A moment that is not a placeholder."""
    found = read_time(value)
    if found is None or found < _EARLIEST or (latest is not None and found > latest):
        return None
    return found


def _newest(elements: object, spelled: tuple[str, str], latest: datetime | None) -> datetime | None:
    texts = list(dict.fromkeys(_texts(elements, spelled)))  # the readings of one sample share their time
    if len(texts) == 1:
        return _moment(texts[0], latest)
    read = (_moment(text, latest) for text in texts[-_MOST_TIMES:])
    return max((time for time in read if time is not None), default=None)


def _texts(elements: object, spelled: tuple[str, str]) -> Iterator[str]:
    name, snaked = spelled
    for element in elements if type(elements) is list else ():  # anything else is a misfit
        if type(element) is dict:
            text = element[name] if name in element else element.get(snaked)
            if type(text) is str:
                yield text


def bounded(prefix: str, found: str) -> str:
    """A key of at most `KEY_MAX_BYTES`; a longer id is hashed."""
    key = prefix + found
    if len(key) * _UTF8_MAX_BYTES > KEY_MAX_BYTES and len(key.encode()) > KEY_MAX_BYTES:
        return f"{prefix}sha256-{hashlib.sha256(found.encode()).hexdigest()[:32]}"
    return key


def compiled(entities: tuple[Entity, ...]) -> tuple[tuple[str, Steps], ...]:
    """Each path of the entities, with what stands before the id in a key."""
    return tuple((f"{entity}:", steps_of(path)) for entity, paths in entities for path in paths)


def _compile_times(known: KnownType) -> tuple[tuple[Steps, tuple[str, str] | None], ...]:
    """Steps to each time; for `a[].b` those to the elements, and the name within each of them."""
    return tuple(_compile_time(path) for path in time_paths(known))


def _compile_time(path: str) -> tuple[Steps, tuple[str, str] | None]:
    whole, each, name = path.partition("[].")
    return steps_of(whole), (name, snake(name)) if each else None


_TIMES = {name: _compile_times(known) for name, known in _LISTED.items()}
_FALLBACK_TIMES = _compile_times(FALLBACK)


def _digest(rules: Mapping[str, tuple[Entity, ...]]) -> str:
    return hashlib.sha256(json.dumps([_READING, rules], sort_keys=True).encode()).hexdigest()[:12]


def _read_rule(place: str, rule: object) -> tuple[Entity, ...]:
    entities: list[Entity] = []
    for entry in rule if isinstance(rule, list) else [rule]:
        match entry:
            case {"entity": str(entity), "paths": [*paths], **rest} if not rest:
                if not _ENTITY.fullmatch(entity):
                    raise ValueError(f"{place}: entity must be a lower-case word, hyphens allowed")
                if not all(isinstance(path, str) and path for path in paths):
                    raise ValueError(f"{place}: paths must be non-empty text")
                if paths:
                    entities.append((entity, tuple(paths)))
            case _:
                raise ValueError(f'{place}: must be {{"entity": "<name>", "paths": ["<path>", ...]}}')
    return tuple(entities)


DEFAULT_RULES = EntityKeyRules()
