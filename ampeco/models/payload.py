"""Base of every typed payload and object: open to unknown fields, frozen, camelCase on the wire.

Source: AMPECO's versioning policy (JSON answers only grow: confirmed), hence unknown fields are kept and
enums stay text.
"""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


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
    )


class Payload(VendorObject):
    """A notification of a known type.

    Attributes:
        notification_types: type strings that carry this payload.
        notification: the type string of this one, as received.
    """

    notification_types: ClassVar[tuple[str, ...]] = ()

    notification: str | None = None
