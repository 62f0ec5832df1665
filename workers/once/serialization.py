"""Converts the result of a once-only step to JSON text and back: no pickle, and no class by its name."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter

from handlers.outcomes import StepRefused

MAX_BYTES = 64 * 1024

_FAULTS = {
    "typed": "is an object of a class: say which with returns=..., so that its record can be read again",
    "not-json": "cannot be kept: let the call return JSON, nothing, or what returns=... says",
    "too-large": f"is larger than {MAX_BYTES // 1024} KiB: let the call return less",
    "changed": "was recorded in another shape than returns=... says",
}


def pack(result: Any, returns: Any) -> tuple[str, str]:
    """Return a result as JSON text, and what is wrong with it (empty when nothing is)."""
    try:
        if returns is not None:
            text, fault = _adapter(returns).dump_json(result, by_alias=True, warnings="error").decode(), ""
        elif isinstance(result, BaseModel):
            text, fault = result.model_dump_json(by_alias=True), "typed"
        else:
            text, fault = json.dumps(result, allow_nan=False, separators=(",", ":")), ""
        return ("", "too-large") if len(text.encode()) > MAX_BYTES else (text, fault)
    except BaseException:  # noqa: BLE001 - a result is an object of the author's: reading it may raise anything
        return "", "not-json"


def unpack(step: str, text: str, fault: str, returns: Any) -> Any:
    """Invert `pack`; StepRefused if the step was done, but its result cannot be given back."""
    if fault and not (fault == "typed" and returns is not None):
        raise _refused(step, fault)
    if returns is None:
        return json.loads(text)
    try:
        return _adapter(returns).validate_json(text)
    except Exception:  # noqa: BLE001 - validators are code of the author's
        raise _refused(step, "changed") from None


def check_returns(step: str, returns: Any) -> None:
    """Refuse an unusable `returns=` before anything is called."""
    if returns is not None:
        try:
            _adapter(returns)
        except Exception:  # noqa: BLE001 - pydantic asks classes of the author's
            raise StepRefused(
                "step-result",
                f"step {step!r} was not called: its returns=... is not a type that pydantic can read",
            ) from None


def _refused(step: str, fault: str) -> StepRefused:
    return StepRefused("step-result", f"step {step!r} was done, but its result {_FAULTS[fault]}")


@cache
def _adapter(returns: Any) -> TypeAdapter[Any]:
    return TypeAdapter(returns)
