"""Set-up of logging: structlog on stderr, with library logs through the same formatter.

It replaces the value of every field whose name suggests a body, a key or a URL with a password. `log_texts.py` bounds
and escapes the texts.
"""

from __future__ import annotations

import logging
import logging.config
import sys
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from receiver.chatty import hush
from receiver.log_texts import bound_fields, for_terminal, text_of

LogFormat = Literal["auto", "json", "pretty"]

_NEVER_LOGGED = frozenset(
    (
        "body",
        "raw",
        "payload",
        "token",
        "api_token",
        "secret",
        "key_bytes",
        "signature",
        "redis_url",
        "headers",
    )
)
_LIBRARIES = frozenset(("asyncio", "httpcore2", "httpx2", "opentelemetry", "redis", "rq", "uvicorn"))


def _without_secrets(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    for name in _NEVER_LOGGED & event.keys():
        event[name] = "[withheld]"
    return event


def _of_library(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Give a library's line a constant name; what it says is the field `text`. Lines of plugins stay as they are."""
    library = str(event.get("logger", "")).partition(".")[0]
    if library in _LIBRARIES:
        event["text"], event["event"] = event["event"], f"{library}.line"
    return event


def configure(log_format: LogFormat = "auto", level: str = "info", *, stream: TextIO | None = None) -> None:
    """Set up logging for this process. Call it once, before the first line.

    Args:
        log_format: `auto` means `pretty` on a terminal, else `json`.
        stream: where lines go; standard error if None.
    """
    stream = sys.stderr if stream is None else stream
    pretty = log_format == "pretty" or (log_format == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        # A line below the level must cost next to nothing: there is one for every event.
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _of_library],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                bound_fields,
                *_rendering(pretty),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    hush()


def _rendering(pretty: bool) -> list[Processor]:
    if pretty:
        # structlog's default, the rich traceback, prints local variables. Those hold bodies and keys.
        return [
            for_terminal,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
    return [structlog.processors.JSONRenderer(default=text_of)]


def get_logger(name: str) -> Any:
    """Return the logger of a module."""
    return structlog.stdlib.get_logger(name)
