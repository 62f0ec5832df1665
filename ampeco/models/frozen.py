"""JSON without a schema, read-only to the bottom: objects as a `dict` that refuses changes, arrays as tuples.

Several handlers share one payload, so none of them may change what another one reads.
"""

from typing import Any, NoReturn

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


class FreeObject(dict[str, Any]):
    """A read-only JSON object whose names are not documented.

    It is a `dict`, so `json.dumps`, comparisons and `match` work as usual. `dict(it)` and `it | {...}` make a plain
    dictionary that can be changed; what lies deeper in it stays read-only. An instance made by hand is as deep as
    `freeze` made it: `FreeObject({"a": []})` holds a list.
    """

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("this object is read-only; dict(...) makes a copy that can be changed")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def copy(self) -> dict[str, Any]:
        """A plain dictionary with the same values."""
        return dict(self)

    def __copy__(self) -> "FreeObject":
        return self

    def __deepcopy__(self, memo: object) -> "FreeObject":
        return self

    def __reduce__(self) -> tuple[Any, ...]:  # pickle would fill an empty one, which refuses it
        return FreeObject, (dict(self),)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_read_object)


def freeze(value: Any) -> Any:
    """The same JSON value, read-only: objects as `FreeObject`, arrays as tuples, at every depth."""
    kind = type(value)
    if kind is dict:
        frozen = FreeObject(value)
        for name, each in value.items():
            if type(each) in _OPEN:
                dict.__setitem__(frozen, name, freeze(each))
        return frozen
    if kind is list or kind is tuple:
        return tuple([freeze(each) if type(each) in _OPEN else each for each in value])
    return value


_OPEN = frozenset({dict, list, tuple})


def _read_object(value: object) -> FreeObject:
    if not isinstance(value, dict):
        raise ValueError("an object is needed here")
    frozen: FreeObject = value if isinstance(value, FreeObject) else freeze(value)
    return frozen
