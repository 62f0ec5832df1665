"""Passes selected events on to another URL, signed, for teams that write in other languages.

It is off until `RECEIVER_FORWARD_URL` (or its file) names a target. Each event is one POST with the headers of
Standard Webhooks. Events of one entity go one after another, in order of arrival. One that the target does not take
holds back the later ones of its entity. What the target refuses is dead, and `dead retry` sends it again.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import Field, SecretStr, model_validator

from ampeco.encodings import plain
from handlers import Context, Event, Raw, handler, other
from handlers.builtin import secret_text
from handlers.builtin.standard_webhooks import headers_of, keys_of
from handlers.builtin.webhook_sender import Away, WebhookSender
from handlers.builtin.webhook_target import Listed, TargetSettings, as_outcomes

TARGET = "webhook-forward-target"  # its name while it is away
_SECRET = "RECEIVER_FORWARD_SECRET"  # noqa: S105 - its name


class ForwardSettings(TargetSettings, env_prefix="RECEIVER_FORWARD_"):
    """Where to send which events, and how to sign them."""

    secret: SecretStr | None = Field(
        default=None,
        description="`whsec_` and 24 to 64 bytes in base64; several, separated by commas, while it changes",
    )
    secret_file: Path | None = Field(
        default=None, description="file with the secret instead; read for each event"
    )
    events: Listed = Field(
        default=(), description="the types to send, comma separated; `*` for all but internal ones"
    )

    @model_validator(mode="after")
    def _complete(self) -> ForwardSettings:
        fault = secret_text.fault_of(_SECRET, self.secret, self.secret_file)
        if fault is None and self.is_on and self.secret is None and self.secret_file is None:
            fault = f"{_SECRET} is missing: what is sent must be signed"
        if fault is None and self.is_on and not self.events:
            fault = "RECEIVER_FORWARD_EVENTS is missing: name the types to send, or * for all"
        if fault is not None:
            raise ValueError(fault)
        if self.secret is not None:
            try:
                keys_of(self.secret.get_secret_value())
            except ValueError as error:
                raise ValueError(f"{_SECRET}: {error}") from None
        return self

    def keys(self) -> tuple[bytes, ...]:
        """Return the signing keys as they are now; raises `Away` when their file cannot be read or used."""
        try:
            return keys_of(secret_text.read(_SECRET, self.secret, self.secret_file))
        except ValueError as error:
            raise Away(f"{_SECRET}_FILE: {error}") from None


class Forwarder:
    """Sends events to the target, signed."""

    def __init__(
        self, settings: ForwardSettings, sender: WebhookSender, *, now_s: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._sender = sender
        self._now_s = now_s

    async def send(self, event: Event[Raw]) -> None:
        """Send an event; return when the target has taken it.

        Raises:
            Unavailable: the target is away; no attempt is spent.
            GiveUp: the target refuses the event.
        """
        body = body_of(event)
        with as_outcomes(TARGET):
            headers = headers_of(event.id, int(self._now_s()), body, self._settings.keys())
            await self._sender.post(body, headers)


def body_of(event: Event[Raw]) -> bytes:
    """Return the body to send: facts about the event, and its own JSON as `data`, byte by byte where it is plain."""
    known = {
        "type": event.type,
        "timestamp": (event.occurred_at or event.received_at).isoformat().replace("+00:00", "Z"),
        "id": event.id,
        "key": event.key,
        "receivedAt": event.received_at.isoformat().replace("+00:00", "Z"),
        "maybeRepeat": event.maybe_repeat,
        "replayed": event.replayed,
    }
    head = json.dumps(known, separators=(",", ":"), ensure_ascii=False)
    return head[:-1].encode() + b',"data":' + _json_of(event) + b"}"


def _json_of(event: Event[Raw]) -> bytes:
    """Return the text that AMPECO sent, as UTF-8, so that no digit of a number is lost."""
    return plain(event.raw, event.encoding) if event.encoding else event.raw


@asynccontextmanager
async def forwarder(settings: ForwardSettings) -> AsyncIterator[Forwarder]:
    """What a worker process needs to send events."""
    async with settings.sender() as sender:
        yield Forwarder(settings, sender)


configured = ForwardSettings()


@handler(
    "webhook-forward",
    on=[other(name) for name in configured.events or ("*",)],
    settings=ForwardSettings,
    lifespan=forwarder,
    enabled=configured.is_on,
    dry_run=True,  # it does nothing outside of its step
)
async def webhook_forward(event: Event[Raw], ctx: Context[ForwardSettings, Forwarder]) -> None:
    """Send one event. A step, so that a dry run sends nothing."""
    await ctx.once("forward", lambda: ctx.state.send(event), on_uncertain="retry", dry=None)
