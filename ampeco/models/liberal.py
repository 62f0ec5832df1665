"""Payloads that are read in other shapes than the contract's, and mapped to it; knows no single type.

The same fields may lie under the noun they are about (`{"session": {...}}`), at the top, in snake_case, or under an
older name. An object may be there by its id alone. A body that has the contract's shape already costs one look
at its names. Ids are found by the paths of the catalogue and `read_id`, exactly as the entity key is.

Source: published contract v3.110.0 (the flat shapes); clients and older documents (all others).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import model_validator

from ampeco.catalogue import KNOWN_TYPES, UNCONFIRMED_TYPES
from ampeco.known_type import KnownType
from ampeco.models.fields import read_id
from ampeco.models.payload import Payload
from ampeco.paths import Steps, at, snake, steps_of

_BESIDE = ("notification", "action", "lastUpdatedAt", "last_updated_at")
_KNOWN: Mapping[str, KnownType] = {**KNOWN_TYPES, **UNCONFIRMED_TYPES}


class LiberalPayload(Payload):
    """A payload that looks for its fields in all places where they may be; nothing that was received is lost.

    Attributes:
        notification_types: the first one is the type whose shape in the contract is this class.
        carries: the field whose object may also lie at the top, or be there by its id alone.
        nouns: objects in which the fields may lie instead of at the top.
        synonyms: wire name -> other names of the field.
        same_words: field -> word of another spelling of the type -> the same word here.
    """

    carries: ClassVar[str] = ""
    nouns: ClassVar[tuple[str, ...]] = ()
    synonyms: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})
    same_words: ClassVar[Mapping[str, Mapping[str, str]]] = MappingProxyType({})

    @model_validator(mode="before")
    @classmethod
    def _arrange(cls, data: Any) -> Any:
        return cls.arranged(data)

    @classmethod
    def arranged(cls, data: Any) -> Any:
        """A decoded body in the contract's shape; the same object where it has it already."""
        if type(data) is not dict:
            return data
        plan = _PLANS.get(cls) or _plan(cls)
        if (
            plan.foreign.isdisjoint(data)
            and (plan.type is None or data.get("notification", plan.type) == plan.type)
            and (not cls.carries or type(data.get(cls.carries)) is dict)
        ):
            return data
        return cls._completed(_rearranged(cls, plan, data))

    @classmethod
    def _completed(cls, found: dict[str, Any]) -> dict[str, Any]:
        """Fill in fields that the contract's shape has and another shape lacks."""
        return found


class SessionPayload(LiberalPayload):
    """The start or stop of a session. A missing action is inferred from what only a start or a stop says."""

    @classmethod
    def _completed(cls, found: dict[str, Any]) -> dict[str, Any]:
        if found.get("action") is None and read_id(found.get("sessionId")) is not None:
            session = found.get("session")
            status = session.get("status") if type(session) is dict else found.get("status")
            if found.get("stoppedAtTimestamp") or found.get("reason") or status in _ENDED:
                found["action"] = "stop"
            elif found.get("startedAtTimestamp"):
                found["action"] = "start"
        return found


_ENDED = ("finished", "failed", "expired")


class BootPayload(LiberalPayload):
    """The start of a charge point, whose fields may lie at the top."""

    @classmethod
    def arranged(cls, data: Any) -> Any:
        """A decoded body in the contract's shape."""
        found = super().arranged(data)
        if type(found) is dict and found.get("bootNotification") is None:
            # `snake` remembers names, and a sender could choose long ones.
            short = (item for item in found.items() if len(item[0]) <= _LONGEST)
            flat = {name: value for name, value in short if snake(name) in _BOOT_FIELDS}
            return {**found, "bootNotification": flat} if flat else found
        return found


_BOOT_FIELDS = frozenset({
    "model", "vendor", "firmware_version", "iccid", "imsi", "meter_serial_number", "meter_type", "reason",
    "charge_box_serial_number", "charge_point_serial_number",
})  # fmt: skip
_LONGEST = max(map(len, _BOOT_FIELDS))


@dataclass(frozen=True, slots=True)
class _Plan:
    """The plan by which the bodies of one class are read.

    Attributes:
        type: the only type whose bodies may be in the contract's shape; None for any.
        fields: wire names.
        places: wire name -> names it may have, at the top or in a noun.
        foreign: names that a body in the contract's shape does not have at its top.
    """

    type: str | None
    fields: frozenset[str]
    places: Mapping[str, tuple[str, ...]]
    foreign: frozenset[str]


_PLANS: dict[type[LiberalPayload], _Plan] = {}


def _plan(cls: type[LiberalPayload]) -> _Plan:
    fields = [field.alias or name for name, field in cls.model_fields.items() if name != "notification"]
    places = {
        wire: tuple(
            dict.fromkeys(each for name in (wire, *cls.synonyms.get(wire, ())) for each in _both(name))
        )
        for wire in fields
    }
    foreign = {name for noun in cls.nouns for name in _both(noun)}
    foreign.update(name for names in places.values() for name in names)
    foreign -= set(fields)
    known = [_KNOWN[name] for name in cls.notification_types if name in _KNOWN]
    for paths in (paths for each in known for _, paths in each.entities):
        target = _target(paths, fields)
        heads = {name for path in paths for name in _both(_head(path))}
        # Where a body holds both an object and its id, the id may have to be taken out of it.
        foreign |= heads - {_head(target)} if target else heads - set(fields)
    only = cls.notification_types[0] if len(cls.notification_types) > 1 else None
    plan = _PLANS[cls] = _Plan(only, frozenset(fields), places, frozenset(foreign))
    return plan


def _rearranged(cls: type[LiberalPayload], plan: _Plan, data: dict[str, Any]) -> dict[str, Any]:
    found = dict(data)
    for wire, names in plan.places.items():
        for name in names:
            if found.get(wire) is None and name in found and name not in plan.fields:
                found[wire] = found.pop(name)
    if cls.carries:
        _carry(found, cls.carries, plan)
    for steps, name in _ids(cls, plan, data):
        _put(found, steps, name)
    for noun in (each for written in cls.nouns for each in _both(written)):
        inner = found.get(noun)
        if type(inner) is dict:
            for wire, names in plan.places.items():
                if found.get(wire) is None:
                    lifted = next((inner[name] for name in names if inner.get(name) is not None), None)
                    if lifted is not None:
                        found[wire] = lifted
    if data.get("notification") != plan.type:
        for wire, words in cls.same_words.items():
            word = found.get(wire)
            found.update({wire: words.get(word, word)} if type(word) is str else {})
    return found


def _carry(found: dict[str, Any], noun: str, plan: _Plan) -> None:
    """Make the object that is carried out of its id alone, or of what lies flat at the top."""
    value = found.get(noun)
    if type(value) is dict:
        return
    alone = read_id(value)
    if alone is not None:
        found[noun] = {"id": alone}
    elif not value and "id" not in plan.fields and read_id(found.get("id")) is not None:
        found[noun] = {
            name: each for name, each in found.items() if name not in _BESIDE and name not in plan.fields
        }


def _ids(cls: type[LiberalPayload], plan: _Plan, data: dict[str, Any]) -> Iterator[tuple[Steps, str]]:
    """Where each id of an entity belongs in this class, and the id that the paths of the type find."""
    named = data.get("notification")
    known = _KNOWN.get(str(named) if named in cls.notification_types else cls.notification_types[0])
    for _, paths in known.entities if known else ():
        target = _target(paths, plan.fields)
        identity = next(
            (each for path in paths if (each := read_id(at(data, steps_of(path)))) is not None), None
        )
        if target is not None and identity is not None:
            yield steps_of(target), identity


def _put(found: dict[str, Any], steps: Steps, identity: str) -> None:
    """Put an id where it belongs, unless a value that reads the same is there."""
    if read_id(at(found, steps)) == identity:
        return
    (head, _), *rest = steps
    if not rest:
        found[head] = identity
    elif type(found.get(head)) in (dict, type(None)):
        found[head] = {**(found.get(head) or {}), rest[0][0]: identity}


def _target(paths: tuple[str, ...], fields: Collection[str]) -> str | None:
    """The path that leads to a field of the class; None where the class has none for the entity."""
    return next((path for path in paths if _head(path) in fields), None)


def _head(path: str) -> str:
    return path.partition(".")[0]


def _both(name: str) -> tuple[str, ...]:
    return (name,) if name == snake(name) else (name, snake(name))
