"""Events sent by hand in `dev`: a file as a signed notification, and the last event once more when `r` is pressed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx2

from ampeco.errors import PayloadError
from ampeco.notifications import read
from ampeco.signature import SIGNATURE_HEADER, SigningKey, sign
from commands.demo_stack import DemoStack
from commands.dev_view import DevView
from commands.type_names import misspelled
from eventlog.inspection.events import read_event

_MOST_BYTES = 1 << 20


class SenderByHand:
    """Sends bodies to the receiver of a demo stack, as the tenant would."""

    def __init__(self, play: DemoStack, view: DevView, files: Sequence[Path]) -> None:
        self._play = play
        self._view = view
        self._files = files
        self._key = SigningKey.of(play.environ["AWR_API_TOKEN"])
        self._again = 0
        self._sending: set[asyncio.Task[None]] = set()

    async def send_files(self) -> None:
        """Send each file."""
        for file in self._files:
            with contextlib.suppress(
                OSError
            ):  # an editor may replace the file: then it is sent with the next change
                await self._send(file.read_bytes(), file.name)

    def repeat(self) -> None:
        """Send the event that a handler had last once more; in the background."""
        task = asyncio.create_task(self._repeat())
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _repeat(self) -> None:
        event_id = self._view.last_event
        stored = await read_event(self._play.log, event_id) if event_id else None
        if stored is None:
            self._view.say("no handler has had an event yet")
            return
        # Blanks at the end make it another body: an equal one within a day is a duplicate.
        self._again += 1
        await self._send(stored.body.rstrip() + b" " * self._again, f"{stored.type} {stored.key or ''} again")

    async def _send(self, body: bytes, what: str) -> None:
        if len(body) > _MOST_BYTES:
            self._view.say(f"{what} has more than {_MOST_BYTES} bytes; it is not sent")
            return
        headers = {SIGNATURE_HEADER: sign(body, self._key), "Content-Type": "application/json"}
        try:
            async with httpx2.AsyncClient(trust_env=False) as client:
                answer = await client.post(self._play.callback_url, content=body, headers=headers)
        except httpx2.HTTPError as error:
            self._view.say(f"{what} was not sent: {type(error).__name__}")
            return
        quarantined = "" if answer.is_success else f": {answer.text[:100]}"
        self._view.say(f"sent {what}, answered {answer.status_code}{quarantined}")
        if (name := _type_of(body)) and (meant := misspelled(name)):
            self._view.say(f"{what} has the unknown type {name!r}{meant}")


def _type_of(body: bytes) -> str:
    """Return the notification type that a body names; empty where it names none."""
    try:
        return str(read(body).get("notification", ""))
    except PayloadError:
        return ""


@contextlib.contextmanager
def keys(pressed: Callable[[str], None]) -> Iterator[bool]:
    """Call `pressed` with each key during the block; yield whether there is a keyboard.

    In a pipe each character counts as a key. A terminal gives keys one by one, and is set back at the end.
    """
    loop, number = asyncio.get_running_loop(), sys.stdin.fileno()
    is_terminal = os.isatty(number)
    before = termios.tcgetattr(number) if is_terminal else None

    def read() -> None:
        text = os.read(number, 100).decode(errors="replace")
        if not text:
            loop.remove_reader(number)
        for key in text:
            pressed(key)

    try:
        if is_terminal:
            tty.setcbreak(number)
        with contextlib.suppress(OSError):  # /dev/null and files have nothing to wait for
            loop.add_reader(number, read)
        yield is_terminal
    finally:
        loop.remove_reader(number)
        if before is not None:
            termios.tcsetattr(number, termios.TCSADRAIN, before)
