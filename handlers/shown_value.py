"""How a refused value is shown in an error."""

from __future__ import annotations

_SHOWN = 80


def shown(value: object) -> str:
    """Return a value as a line may show it; some values cannot be shown."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - the author's code
        return f"of the type {type(value).__name__}"
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    return cut.encode("ascii", "backslashreplace").decode()
