"""Base of every typed payload and object: open to unknown fields, frozen, camelCase on the wire.

Source: AMPECO's versioning policy (JSON answers only grow: confirmed), hence unknown fields are kept and
enums stay text. An empty object may arrive as `[]`: usual for AMPECO's platform, seen by SDK authors.
"""

from typing import Annotated, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel

T = TypeVar("T")


def _none_for_empty_list(value: object) -> object:
    return None if value == [] else value


Nested = Annotated[T | None, BeforeValidator(_none_for_empty_list)]


class VendorObject(BaseModel):
    """An object inside AMPECO's JSON; fields we do not know are kept in `model_extra`."""

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


class Payload(VendorObject):
    """A notification of a known type.

    Attributes:
        notification_types: type strings that carry this payload.
        notification: the type string of this one, as received.
    """

    notification_types: ClassVar[tuple[str, ...]] = ()

    notification: str | None = None
