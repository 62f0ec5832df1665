"""Base of every typed payload and object: open to unknown fields, frozen, camelCase on the wire.

Source: AMPECO's versioning policy (JSON answers only grow: confirmed), hence unknown fields are kept and
enums stay text. An empty object may arrive as `[]`: usual for AMPECO's platform, seen by SDK authors.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic.alias_generators import to_camel

from ampeco.models.fields import read_id

T = TypeVar("T")


def _none_for_empty_list(value: object) -> object:
    return None if value == [] else value


Nested = Annotated[T | None, BeforeValidator(_none_for_empty_list)]


class VendorObject(BaseModel):
    """An object inside AMPECO's JSON; fields we do not know are kept in `model_extra`.

    Its `repr` names those fields and does not show them: any of them may be a secret.
    """

    model_config = ConfigDict(
        extra="allow",
        frozen=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        defer_build=True,
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        unknown = self.model_extra or {}
        yield from (shown for shown in super().__repr_args__() if shown[0] not in unknown)
        if unknown:
            yield "unknown", sorted(unknown)


class Payload(VendorObject):
    """A notification of a known type.

    Attributes:
        notification_types: type strings that carry this payload.
        notification: the type string of this one, as received.
    """

    notification_types: ClassVar[tuple[str, ...]] = ()

    notification: str | None = None


class LoosePayload(Payload):
    """A payload whose shape nobody promises: what it is about is looked for wherever it may be.

    The resource may be nested under its noun (in either spelling), lie flat beside `notification`, or be there
    by its id alone. Ids are filled in from the places in `found_at`; nothing that was received is taken away.

    Attributes:
        noun: key of the nested resource, "" when the payload has none.
        synonyms: other keys it may have.
        found_at: id -> dotted paths of it, in the order to try them, all in AMPECO's spelling.
    """

    noun: ClassVar[str] = ""
    synonyms: ClassVar[tuple[str, ...]] = ()
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})

    @model_validator(mode="before")
    @classmethod
    def _bring_together(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        found = dict(data)
        if cls.noun:
            resource = _resource(data, cls.noun, cls.synonyms)
            found.pop(snake(cls.noun), None)
            if resource is not None:
                found[cls.noun] = resource
        for name, paths in cls.found_at.items():
            candidates = (_id_at(found, path) for path in (name, snake(name), *paths))
            found_id = next((each for each in candidates if each is not None), None)
            found.pop(snake(name), None)
            if found_id is not None:
                found[name] = found_id
        return found


@lru_cache(1024)
def snake(name: str) -> str:
    """`chargePointId` -> `charge_point_id`, for the plain names used here."""
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


def _resource(data: Mapping[str, Any], noun: str, synonyms: tuple[str, ...]) -> object:
    for name in (noun, snake(noun), *synonyms):
        value = data.get(name)
        if value:
            alone = read_id(value)
            return value if alone is None else {"id": alone}
    if read_id(data.get("id")) is None:
        return None
    return {name: value for name, value in data.items() if name != "notification"}


def _id_at(data: object, path: str) -> str | None:
    for step in path.split("."):
        if not isinstance(data, Mapping):
            return None
        found = data.get(step)
        data = data.get(snake(step)) if found is None else found
    return read_id(data)
