"""Describes the faults of a plugin's settings, by the names of their variables and without their values."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

_MOST = 20  # of one class


def settings_faults(error: ValidationError, settings: type[BaseSettings] | None = None) -> list[str]:
    """Return a sentence for each setting that is missing or refused: its variable, what is wrong, and the fix.

    Args:
        settings: the class that refused them; searched by its name unless given.
    """
    model = settings if settings is not None and settings.__name__ == error.title else _model_of(error)
    found = []
    for fault in error.errors(include_input=False, include_url=False, include_context=False)[:_MOST]:
        place = fault["loc"]
        said = str(fault["msg"]).removeprefix("Value error, ")
        field = model.model_fields.get(str(place[0])) if place and model else None
        variable = _variable(model, str(place[0])) if place else ""
        inner = "".join(f".{part}" for part in place[1:])
        if fault["type"] == "missing" and not inner:
            about = f" ({field.description})" if field is not None and field.description else ""
            found.append(f"{variable} is not set; set it in the environment of the workers{about}")
        else:
            found.append(f"{variable}{inner}: {said}" if variable else said)
    return found


def _model_of(error: ValidationError) -> type[BaseSettings] | None:
    """Return the class that refused its settings; None where its name is not unique."""
    waiting: list[type[BaseSettings]] = [BaseSettings]
    found: list[type[BaseSettings]] = []
    while waiting:
        below = waiting.pop().__subclasses__()
        waiting += below
        found += [each for each in below if each.__name__ == error.title]
    return found[0] if len(found) == 1 else None


def _variable(model: type[BaseSettings] | None, name: str) -> str:
    """Return the environment variable of a field or of its alias; the name alone where the class is unknown."""
    if model is None:
        return name
    prefix = str(model.model_config.get("env_prefix", ""))
    field = model.model_fields.get(name)
    plain = name if field is None or _is_aliased(field) else prefix + name
    return plain if model.model_config.get("case_sensitive") else plain.upper()


def _is_aliased(field: FieldInfo) -> bool:
    return field.validation_alias is not None
