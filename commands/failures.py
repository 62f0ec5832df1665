"""The end of a command: its exit code, the one line that says why, and the rest of its output.

No error of any kind prints a traceback, unless AWR_LOG_LEVEL=debug asks for it.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

import click

INTERRUPTED = 130
_ESCAPE = "json-escape"
_OURS = Path(__file__).resolve().parents[1]
_MOST = 2_000  # columns of a line


def fail(code: int, message: str) -> int:
    """Print one line to stderr, and return the exit code."""
    from eventlog.text import printable

    with contextlib.suppress(OSError, ValueError):  # stderr is closed
        click.echo(printable(f"ampeco-receiver: {' '.join(message.split())}", _MOST), err=True)
    return code


def failed(error: Exception) -> int:
    """Print the one line that a user reads of an error, and return the exit code."""
    if _is_interrupt(error):
        return INTERRUPTED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message())
        return 2
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx else "ampeco-receiver"
        said = error.format_message()
        return fail(2, f"{said}{'' if said.endswith(('.', '?')) else '.'} See {where} --help.")
    if isinstance(error, click.ClickException):
        return fail(error.exit_code, error.format_message())
    if isinstance(error, OSError) and (found := _of_the_system(error)) is not None:
        return fail(1, found)
    known = _known(error)
    if known is None and os.environ.get("AWR_LOG_LEVEL") == "debug":
        sys.excepthook(type(error), error, error.__traceback__)
    return fail(*(known or (1, _unknown(error))))


def unreadable(words: Iterable[str]) -> str | None:
    """Name the first argument that is not valid text, which neither Redis nor JSON takes; None if all are."""
    for number, word in enumerate(words, 1):
        if "\0" in word or any("\ud800" <= char <= "\udfff" for char in word):
            return f"argument {number} is not text in UTF-8: {word!a}"
    return None


def speak_any_text() -> None:
    """Let stdout and stderr write what their encoding lacks, such as half a surrogate pair, as escapes of JSON."""
    codecs.register_error(_ESCAPE, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPE)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2)), error.end


def written_out(code: int) -> int:
    """Flush stdout and stderr; return the exit code, which is 1 where stdout cannot be written.

    The interpreter must not flush again at exit: it would print the error, and end with 120.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError) as error:
            _discard(stream)
            if stream is sys.stdout and code == 0:
                is_closed = isinstance(error, BrokenPipeError)
                code = 1 if is_closed else fail(1, f"standard output: {getattr(error, 'strerror', error)}")
    return code


def _discard(stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _is_interrupt(error: Exception) -> bool:
    """Tell whether an error stands for Ctrl-C: what makes a class may wrap it, pydantic's core as text alone."""
    if type(error).__module__.startswith("pydantic_core"):
        return "KeyboardInterrupt" in str(error)
    return isinstance(error.__cause__, KeyboardInterrupt)


def _of_the_system(error: OSError) -> str | None:
    """Describe an error of the operating system; None for another kind, such as a server that is away."""
    if isinstance(error, ConnectionError | TimeoutError) or error.strerror is None:
        return None
    if error.filename is None and error.errno in (
        errno.ENOSPC,
        errno.EIO,
        errno.EBADF,
        errno.EFBIG,
        errno.EDQUOT,
    ):
        return f"standard output: {error.strerror}"
    name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return f"{name}{error.strerror}"


def _known(error: Exception) -> tuple[int, str] | None:
    """Return the exit code of an error and the line that a user reads; None for an error that we do not know."""
    from redis.exceptions import AskError, ConnectionError, RedisError, ResponseError, TimeoutError  # noqa: A004

    import ampeco.errors
    from ampeco.nearest import did_you_mean
    from eventlog.connection.reasons import REFUSED, UNCLEAR, reason_of
    from eventlog.errors import ChangeRefused, LogMismatch, UnknownName
    from eventlog.ownership import one_node
    from eventlog.record import UnknownRecord
    from receiver.errors import SettingsError, Unreachable

    if isinstance(error, AskError):  # MOVED and ASK, which only a client that follows no slot sees
        return 2, str(one_node())
    if isinstance(error, RedisError) and (reason := reason_of(error)).slug not in UNCLEAR:
        lacking = f" ({reason.permission})" if reason.permission else ""
        return 2 if reason.slug in REFUSED else 3, f"AWR_REDIS_URL: {reason.slug}{lacking}; {reason.hint}"
    if isinstance(error, UnknownName):
        return 2, f"{error}{did_you_mean(error.asked, error.known)}"
    if isinstance(error, (SettingsError, LogMismatch)):
        return 2, str(error)
    if isinstance(error, ChangeRefused):
        return 1, str(error)
    if isinstance(error, Unreachable):
        return 3, str(error)
    if isinstance(error, ampeco.errors.Unreachable):
        return 3, f"AWR_TENANT_URL: AMPECO cannot be reached; check address and network ({error})"
    if isinstance(error, (ConnectionError, TimeoutError)):  # of Redis
        reason = reason_of(error)
        return 3, f"AWR_REDIS_URL: {reason.slug}; {reason.hint} ({error})"
    if isinstance(error, ampeco.errors.ApiError):
        who = "AWR_API_TOKEN" if isinstance(error, ampeco.errors.KeyRefused) else "AMPECO"
        fields = ", ".join(error.errors) if isinstance(error, ampeco.errors.Invalid) else ""
        return _by_ampeco(error), f"{who}: {error} ({error.reason}{': ' if fields else ''}{fields})"
    if isinstance(error, OSError):  # of a connection, since what the system refuses is handled before
        return 3, f"{type(error).__name__}: {error}"
    if isinstance(error, UnknownRecord):
        return 1, f"{error}; a newer version of this program may have written it: use that one"
    if isinstance(error, ResponseError) and "WRONGTYPE" in str(error):
        return 2, (
            "AWR_KEY_PREFIX: other data than a log lies under this prefix; set it to that of the log, or see "
            "deploy/README.md, Keys of a wrong type"
        )
    if isinstance(error, RedisError):
        return 3, f"{reason_of(error).slug}: {error}"
    return None


def _by_ampeco(error: Exception) -> int:
    """Return the exit code for what AMPECO refused: 2 where the token is at fault, 3 where a retry may help."""
    from ampeco.errors import KeyRefused, RateLimited, ServerFault

    if isinstance(error, KeyRefused):
        return 2
    return 3 if isinstance(error, (RateLimited, ServerFault)) else 1


def _unknown(error: Exception) -> str:
    """Describe an error that is a fault of this program, with the last place of ours that it came through."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_OURS)]
    where = f" at {Path(ours[-1].filename).relative_to(_OURS)}:{ours[-1].lineno}" if ours else ""
    return f"internal error{where}: {type(error).__name__}: {error}; AWR_LOG_LEVEL=debug prints where it comes from"
