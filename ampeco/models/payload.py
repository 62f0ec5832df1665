"""Base of every typed payload and object: open to unknown fields, read-only, camelCase on the wire.

A field that did not fit is None if it is optional. A required one is left unset, and reading it raises `FieldMisfit`
(`ampeco.models.reading` builds such payloads). Nothing here costs anything when all fields fit.

Source: AMPECO's versioning policy (JSON answers only grow: confirmed), hence unknown fields are kept and
enums stay text. An empty object may arrive as `[]`: usual for AMPECO's platform, seen by SDK authors.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel

from ampeco.errors import FieldMisfit
from ampeco.models.fields import read_exact
from ampeco.models.frozen import freeze
from ampeco.models.original import find

T = TypeVar("T")


def _none_for_empty_list(value: object) -> object:
    return None if value == [] else value


Nested = Annotated[T | None, BeforeValidator(_none_for_empty_list)]


class VendorObject(BaseModel):
    """An object inside AMPECO's JSON, read-only to the bottom; fields we do not know are kept in `model_extra`.

    Its `repr` names those fields and does not show them: any of them may be a secret.
    """

    __slots__ = ("_unset",)  # attribute -> dotted wire name of what did not fit; absent when all fits

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

    if not TYPE_CHECKING:  # a type checker would take every name for an existing one

        def __getattr__(self, name: str) -> Any:  # only called for what is not there
            if name in type(self).__pydantic_fields__:
                raise FieldMisfit(unset_fields(self).get(name, name))
            return freeze(super().__getattr__(name))

    # Fields we do not know are frozen where they are read: most handlers never look at one.

    @property
    def model_extra(self) -> dict[str, Any] | None:
        """The fields we do not know, read-only."""
        extra: dict[str, Any] | None = freeze(self.__pydantic_extra__)
        return extra

    def __iter__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        return ((name, freeze(value)) for name, value in super().__iter__())

    @property
    def model_fields_set(self) -> set[str]:
        """Names of the fields that were sent; a copy."""
        return set(self.__pydantic_fields_set__)

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

    __slots__ = ("_body",)  # the bytes it was read from; absent when it was made without an event

    notification_types: ClassVar[tuple[str, ...]] = ()

    notification: str | None = None

    def raw_value(self, path: str) -> Any:
        """What AMPECO sent for a field, as it sent it, read-only; None when it sent nothing.

        Args:
            path: dotted, in either spelling: `session.total_amount` or `session.totalAmount`; a number is a place
                in an array: `session.charging_periods.0.energy`.

        Raises:
            LookupError: the payload was made without its bytes, so outside of an event.
        """
        return find(type(self), self._sent(), path)

    def exact(self, path: str) -> Decimal | None:
        """A number with all the digits AMPECO sent, in text or not; None when it sent nothing or null.

        Args:
            path: as in `raw_value`, e.g. `session.total_amount.with_tax`.

        Raises:
            FieldMisfit: there is something else than a number.
            LookupError: as in `raw_value`.
        """
        sent = find(type(self), self._sent(), path, exact=True)
        number = read_exact(sent)
        if number is None and sent is not None:
            raise FieldMisfit(path)
        return number

    def _sent(self) -> bytes:
        try:
            body: bytes = _BODY.__get__(self)
        except AttributeError:
            raise LookupError("this payload was made without its bytes; an Event ties the two") from None
        return body


_UNSET = vars(VendorObject)["_unset"]
_BODY = vars(Payload)["_body"]


def unset_fields(of: VendorObject) -> Mapping[str, str]:
    """Required fields that did not fit or are missing: attribute -> dotted wire name."""
    try:
        unset: Mapping[str, str] = _UNSET.__get__(of)
    except AttributeError:  # so it is for nearly every object
        return {}
    return unset


def leave_unset(of: VendorObject, fields: Mapping[str, str]) -> None:
    """Note that these fields did not fit."""
    _UNSET.__set__(of, MappingProxyType(dict(fields)))


keep_body: Callable[[Payload, bytes], None] = _BODY.__set__
"""Tie a payload to its bytes, for `exact` and `raw_value`: the slot's own setter, since it runs for every event."""
