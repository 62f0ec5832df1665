"""Sends what happens to this service to a chat or an alarm system: one JSON POST with a line for each chosen event.

It is off until `RECEIVER_NOTIFY_URL` or `RECEIVER_NOTIFY_URL_FILE` names a target. Events that come together go into
one message, and there is a pause between two messages of a worker process.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from pydantic import Field, field_validator

from ampeco.nearest import did_you_mean
from handlers import Context, Event, Raw, Retry, handler, other
from handlers.builtin import notify_texts
from handlers.builtin.grouping import Messages, TooSoon
from handlers.builtin.notify_texts import DEFAULT_TEMPLATES, line_of
from handlers.builtin.webhook_sender import WebhookSender
from handlers.builtin.webhook_target import Listed, TargetSettings, as_outcomes
from handlers.internal import PAYLOADS

TARGET = "notify-target"  # its name while it is away
GATHER_S = 1.0
MOST = 50  # events in a message
GIVE_UP_AFTER_S = 86_400.0

QUIET = frozenset({"receiver.started"})
"""Events that are not chosen by default."""


class NotifySettings(TargetSettings, env_prefix="RECEIVER_NOTIFY_"):
    """Where to send which events."""

    events: Listed = Field(
        default=tuple(sorted(PAYLOADS.keys() - QUIET)),
        description="the internal events to send, comma separated",
    )
    templates: dict[str, str] = Field(
        default={}, description='JSON object of templates, as `{"receiver.log.full": "Full: {reason}"}`'
    )
    field: str = Field(
        default="text", description="name of the JSON field with the text, as `content` for Discord"
    )
    name: str = Field(default="", description="name of this deployment; begins the text")
    every_s: float = Field(
        default=30.0, ge=1.0, le=3_600.0, description="seconds between two messages of a process"
    )

    @field_validator("events")
    @classmethod
    def _known(cls, events: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(events) - PAYLOADS.keys())
        if unknown or not events:
            named = f"has {unknown[0]!r}" if unknown else "is empty"
            meant = did_you_mean(unknown[0], PAYLOADS) if unknown else ""
            raise ValueError(f"{named}; the internal events are: {', '.join(sorted(PAYLOADS))}{meant}")
        return events

    @field_validator("templates")
    @classmethod
    def _readable(cls, templates: dict[str, str]) -> dict[str, str]:
        for name, template in templates.items():
            if fault := notify_texts.fault_of(name, template):
                raise ValueError(fault)
        return templates


class Outbox:
    """Sends lines in messages to the target.

    Args:
        gather_s: how long a message waits for further lines.
    """

    def __init__(
        self, settings: NotifySettings, sender: WebhookSender, *, gather_s: float = GATHER_S
    ) -> None:
        self._settings = settings
        self._sender = sender
        self._messages: Messages[str] = Messages(
            self._post, gather_s=gather_s, every_s=settings.every_s, most=MOST
        )
        self.templates: Mapping[str, str] = {**DEFAULT_TEMPLATES, **settings.templates}

    async def send(self, line: str) -> None:
        """Send a line with others; return when the target has taken it.

        Raises:
            Retry: it goes into a later message.
            Unavailable: the target is away; no attempt is spent.
            GiveUp: the target refuses it.
        """
        try:
            with as_outcomes(TARGET):
                await self._messages.add(line)
        except TooSoon as wait:
            raise Retry("it goes into the next message", after_s=wait.after_s, counts=False) from None

    async def _post(self, lines: Sequence[str]) -> None:
        named = [f"[{self._settings.name}]"] if self._settings.name else []
        text = "\n".join([*named, *sorted(lines)])  # a line begins with its time
        await self._sender.post(json.dumps({self._settings.field: text}, ensure_ascii=False).encode())


@asynccontextmanager
async def outbox(settings: NotifySettings) -> AsyncIterator[Outbox]:
    """What a worker process needs to send messages."""
    async with settings.sender() as sender:
        yield Outbox(settings, sender)


configured = NotifySettings()


@handler(
    "notify",
    on=[other(name) for name in configured.events],
    settings=NotifySettings,
    lifespan=outbox,
    enabled=configured.is_on,
    order="none",  # what waits together goes into one message; its lines are sorted by time
    not_yet_for_s=GIVE_UP_AFTER_S,
    dry_run=True,  # it does nothing outside of its step
)
async def notify(event: Event[Raw], ctx: Context[NotifySettings, Outbox]) -> None:
    """Send a line about an event. A step, so that a dry run sends nothing and a retry does not send it again."""
    line = line_of(event, ctx.state.templates)
    await ctx.once("message", lambda: ctx.state.send(line), on_uncertain="retry", dry=None)
