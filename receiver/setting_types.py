"""The base class of the settings' sections, and kinds of values that several sections use."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr

from ampeco import key_text
from receiver.settings_source import PREFIX


class Section(BaseModel):
    """Settings about one thing. `settings.py` puts the sections together."""

    # Not a pydantic-settings model: that would ignore unknown names in the environment. We refuse them.
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, alias_generator=lambda name: PREFIX + name.upper()
    )


def split(value: object) -> object:
    """Split a text at commas and line ends; leave other values alone."""
    if isinstance(value, str):
        return tuple(part.strip() for part in re.split(r"[,\n]", value) if part.strip())
    return value


def some(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse a list without entries."""
    if not values:
        raise ValueError("has no entry")
    return values


def sendable(value: SecretStr) -> SecretStr:
    """Refuse a token that no header can carry."""
    if (fault := key_text.fault_of(value.get_secret_value())) is not None:
        raise ValueError(fault)
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(split), AfterValidator(some)]
Token = Annotated[SecretStr, AfterValidator(sendable)]
