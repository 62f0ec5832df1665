"""`handlers new`: write the code of a handler, and its test."""

from __future__ import annotations

import builtins
import keyword
import re
import sys
from pathlib import Path

import click

from commands.options import HandlerName

_HANDLER = '''"""{name}: describe here what this handler does."""

from __future__ import annotations

from ampeco.notifications import SessionStartStop
from handlers import Context, Event, Skip, handler


@handler("{name}")
async def {function}(event: Event[SessionStartStop], ctx: Context) -> None:
    """Run once for each session that starts or stops; after a failure, run again."""
    session = event.payload
    if session.action != "stop":
        raise Skip("the session has not ended")
    ctx.log.info("session.finished", session_id=session.session_id)
'''

_TEST = '''"""Tests of {name}."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest

from ampeco.notifications import SessionStartStop
from handlers import Event, Skip
from {module} import {function}


def session_event(action: str) -> Event[SessionStartStop]:
    fields = {{
        "notification": "session.start.stop.notification",
        "sessionId": 1,
        "chargePointId": 12,
        "evseId": 34,
        "action": action,
        "startedAtTimestamp": "2026-11-24T03:50:00Z",
        "meterStart": 0,
        "meterStop": 0,
        "lastUpdatedAt": "2026-11-24T03:50:00Z",
    }}
    body = json.dumps(fields).encode()
    return Event(
        id="0-1-0",
        type="session.start.stop.notification",
        key="session:1",
        received_at=datetime.now(UTC),
        occurred_at=None,
        payload=SessionStartStop.model_validate_json(body),
        raw=body,
    )


def test_skips_a_session_that_has_not_ended() -> None:
    with pytest.raises(Skip):
        asyncio.run({function}(session_event("start"), Mock()))


def test_handles_a_session_that_has_ended() -> None:
    asyncio.run({function}(session_event("stop"), Mock()))
'''


@click.command()
@click.argument("name", type=HandlerName())
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder for both files.",
)
def new(name: str, folder: Path) -> None:
    """Write the code of a new handler, and a passing test."""
    function = _function_name(name)
    module = f"{function}_handler"
    files = {folder / f"{module}.py": _HANDLER, folder / f"test_{module}.py": _TEST}
    for path in files:
        if path.exists():
            raise click.ClickException(f"{path} already exists; choose another name or --folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text.format(name=name, function=function, module=module))
        click.echo(str(path))
    click.echo(f"try it: ampeco-receiver dev {folder / module}.py", err=True)


def _function_name(name: str) -> str:
    """Return a name for the function that Python takes, that hides nothing, and that pytest does not collect."""
    function = re.sub(r"[.-]+", "_", name).strip("_")
    taken = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), *sys.stdlib_module_names}
    used = set(re.findall(r"\w+", _HANDLER + _TEST))
    if not function[0].isalpha() or function in taken | used or function.startswith("test"):
        return f"handle_{function}"
    return function
