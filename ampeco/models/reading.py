"""Makes a payload of decoded JSON although some fields may not fit: one odd field does not cost the event.

An optional field that does not fit is None; a required one is left unset, so that reading it raises `FieldMisfit`.
Data that fits is read by pydantic as usual, in one validation. Only where that refuses something, the data is
validated again by a twin of the model whose fields take anything. Nothing is repaired on the way.
"""

from collections.abc import Callable
from functools import lru_cache
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin

from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
)
from pydantic.fields import FieldInfo

from ampeco.models.fields import Id
from ampeco.models.original import wire_name
from ampeco.models.payload import Payload, VendorObject, leave_unset, unset_fields

P = TypeVar("P", bound=Payload)
V = TypeVar("V", bound=VendorObject)

_UNSET: Any = object()


def read_payload(model: type[P], data: object) -> tuple[P, tuple[str, ...]]:
    """Build a payload.

    Args:
        data: the decoded notification.

    Returns:
        The payload, and the dotted names, as they were sent, of the fields that did not fit, e.g. `session.energy` or
        `session.chargingPeriods[].id`.

    Raises:
        ValidationError: the data is not an object, or the model has validators of its own that refuse all of it.
    """
    try:
        return model.__pydantic_validator__.validate_python(data), ()
    except ValidationError:
        if not _is_read_by_fields(model):
            raise
        reading = _Reading()
        payload = reading.build(model, data)
        if not reading.misfits:
            raise
        return payload, tuple(reading.misfits)


def lacks_id(payload: VendorObject) -> bool:
    """Whether an id that the model requires, or an object it requires for its id, did not fit."""
    unset = unset_fields(payload)
    for name, field in type(payload).model_fields.items():
        if not field.is_required():
            continue
        nested = _object_in(field)
        if name in unset:
            if _is_id(name, field) or (nested is not None and _requires_id(nested)):
                return True
        elif (
            nested is not None
            and isinstance(found := getattr(payload, name), VendorObject)
            and lacks_id(found)
        ):
            return True
    return False


class _Reading:
    """One reading of one payload.

    Attributes:
        misfits: dotted wire names, in the order they were met.
        data: the object whose fields are being read.
    """

    def __init__(self) -> None:
        self.misfits: dict[str, None] = {}
        self.data: object = None
        self._prefix = ""

    def build(self, model: type[V], data: object) -> V:
        self.data = data
        twin = _twin(model)
        built: V = twin.__pydantic_validator__.validate_python(data, context=self)
        unset = {}
        for name, field in model.model_fields.items():
            if built.__dict__[name] is _UNSET:
                del built.__dict__[name]
                unset[name] = self.note(_sent_as(name, field, data))
        built.__pydantic_fields_set__.difference_update(unset)
        object.__setattr__(built, "__class__", model)
        if unset:
            leave_unset(built, unset)
        return built

    def note(self, wire: str) -> str:
        """A field that does not fit."""
        path = self._prefix + wire
        self.misfits[path] = None
        return path

    def build_within(self, wire: str, model: type[V], data: object) -> V:
        before = self._prefix, self.data
        self._prefix += f"{wire}."
        try:
            return self.build(model, data)
        finally:
            self._prefix, self.data = before


@lru_cache(None)
def _twin(model: type[V]) -> type[V]:
    """The same model, but its fields take anything: what does not fit becomes None or is marked as unset."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        default = {"default": _UNSET if field.is_required() else field.default}
        twin_field = Field(
            alias=field.alias,
            validation_alias=field.validation_alias,
            repr=field.repr,
            **({"default_factory": field.default_factory} if field.default_factory else default),
        )
        twin_field.metadata = [*field.metadata, WrapValidator(_tolerant(name, field))]
        fields[name] = (field.annotation, twin_field)
    twin: type[V] = create_model(model.__name__, __base__=model, __module__=model.__module__, **fields)
    return twin


def _tolerant(
    name: str, field: FieldInfo
) -> Callable[[Any, ValidatorFunctionWrapHandler, ValidationInfo], Any]:
    one, many = _object_in(field), _elements_in(field)
    misread = None if not field.is_required() and NoneType in get_args(field.annotation) else _UNSET

    def read(value: Any, read_strictly: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        try:
            return read_strictly(value)
        except ValidationError:
            pass
        reading = info.context
        assert isinstance(reading, _Reading)  # noqa: S101
        wire = _sent_as(name, field, reading.data)
        if one is not None and isinstance(value, dict):
            return reading.build_within(wire, one, value)
        if many is not None and isinstance(value, list) and all(isinstance(each, dict) for each in value):
            return tuple(reading.build_within(f"{wire}[]", many, each) for each in value)
        reading.note(wire)
        return misread

    return read


def _sent_as(name: str, field: FieldInfo, data: object) -> str:
    """The name of a field in an object that was sent: AMPECO's older resources are in snake_case."""
    wire = wire_name(name, field)
    return name if isinstance(data, dict) and name in data and wire not in data else wire


def _object_in(field: FieldInfo) -> type[VendorObject] | None:
    """The model of a nested object."""
    found = [each for each in _alternatives(field.annotation) if each is not NoneType]
    if len(found) == 1 and isinstance(found[0], type) and issubclass(found[0], VendorObject):
        return found[0]
    return None


def _elements_in(field: FieldInfo) -> type[VendorObject] | None:
    """The model of the objects in an array."""
    for each in _alternatives(field.annotation):
        if get_origin(each) is tuple:
            element = get_args(each)[0]
            return element if isinstance(element, type) and issubclass(element, VendorObject) else None
    return None


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if NoneType in get_args(annotation) else (annotation,)


def _is_id(name: str, field: FieldInfo) -> bool:
    return name == "id" or any(each in field.metadata for each in get_args(Id)[1:])


def _requires_id(model: type[VendorObject]) -> bool:
    return any(
        _is_id(name, field) or ((nested := _object_in(field)) is not None and _requires_id(nested))
        for name, field in model.model_fields.items()
        if field.is_required()
    )


def _is_read_by_fields(model: type[VendorObject]) -> bool:
    """Whether the fields alone say what fits: validators that see more cannot be asked about a part."""
    decorators = model.__pydantic_decorators__
    return not (
        decorators.field_validators
        or decorators.validators
        or any(each.info.mode != "before" for each in decorators.model_validators.values())
    )
