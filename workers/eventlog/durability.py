"""Whether the server keeps what it was given as durably as we were told it would."""

from __future__ import annotations

from redis.exceptions import ResponseError

from workers.eventlog.log import EventLog


async def shortfall(log: EventLog, durability: str) -> str | None:
    """What the server says that is weaker than `always` or `everysec` asks for, in a few words.

    None when it is as strong, or when the server does not tell (managed services often refuse CONFIG).
    """
    try:
        found = await log.redis.config_get("appendonly", "appendfsync")
    except ResponseError:
        return None
    answer = {_text(name): _text(value) for name, value in found.items()}
    if answer.get("appendonly") == "no":
        return "appendonly is no"
    if answer.get("appendfsync") not in (None, "always", durability):
        return f"appendfsync is {answer['appendfsync']}"
    return None


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
