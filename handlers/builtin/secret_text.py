"""A secret of a handler's settings: given directly, or in a file that is read each time and so can be replaced."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from ampeco.regular_file import read_regular
from handlers.builtin.webhook_sender import Away


def fault_of(name: str, given: SecretStr | None, file: Path | None) -> str | None:
    """Return what is wrong with a setting that has both forms; None if nothing is."""
    return f"set {name} or {name}_FILE, not both" if given is not None and file is not None else None


def read(name: str, given: SecretStr | None, file: Path | None) -> str:
    """Return the secret as it is now; empty when neither form is set.

    Raises:
        Away: the file cannot be read.
    """
    if given is not None:
        return given.get_secret_value()
    if file is None:
        return ""
    try:
        return read_regular(file).decode().strip()
    except (OSError, ValueError) as error:
        raise Away(f"{name}_FILE cannot be read: {type(error).__name__}") from None
