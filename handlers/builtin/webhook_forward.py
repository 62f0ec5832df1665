"""Passes selected events on to another URL, signed, for teams that write in other languages.

It is off until `RECEIVER_FORWARD_URL` (or its file) names a target. Each event is one POST with the headers of
Standard Webhooks. Events of one entity go one after another, in order of arrival; one that the target does not take
holds back the later ones of its entity. What the target refuses is dead, and `dead retry` sends it again.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

from ampeco.encodings import plain
from handlers import Context, Event, GiveUp, Raw, Unavailable, handler, other
from handlers.builtin import secret_text
from handlers.builtin.standard_webhooks import headers_of, keys_of
from handlers.builtin.webhook_sender import Away, Refused, WebhookSender, fault_of, opened

TARGET = "webhook-forward-target"  # its name while it is away
_URL, _SECRET = "RECEIVER_FORWARD_URL", "RECEIVER_FORWARD_SECRET"


class ForwardSettings(BaseSettings, env_prefix="RECEIVER_FORWARD_", env_ignore_empty=True):
    """Where to send which events, and how to sign them."""

    url: SecretStr | None = Field(default=None, description="where to POST; a secret")
    url_file: Path | None = Field(default=None, description="file with that URL instead; read for each event")
    secret: SecretStr | None = Field(
        default=None,
        description="`whsec_` and 24 to 64 bytes in base64; several, separated by commas, while it changes",
    )
    secret_file: Path | None = Field(
        default=None, description="file with the secret instead; read for each event"
    )
    events: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="the types to send, comma separated; `*` for all but internal ones"
    )
    plain_http: bool = Field(default=False, validation_alias="AWR_ALLOW_PLAIN_HTTP")

    @field_validator("events", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _complete(self) -> ForwardSettings:
        fault = secret_text.fault_of(_URL, self.url, self.url_file) or secret_text.fault_of(
            _SECRET, self.secret, self.secret_file
        )
        if fault is None and self.url is not None:
            fault = fault_of(self.url.get_secret_value(), plain_http=self.plain_http)
            fault = fault and f"{_URL} {fault}"
        if fault is None and self.is_on and self.secret is None and self.secret_file is None:
            fault = f"{_SECRET} is missing: what is sent must be signed"
        if fault is None and self.is_on and not self.events:
            fault = "RECEIVER_FORWARD_EVENTS is missing: name the types to send, or * for all"
        if fault is not None:
            raise ValueError(fault)
        if self.secret is not None:
            keys_of(self.secret.get_secret_value())
        return self

    @property
    def is_on(self) -> bool:
        """Whether there is a target."""
        return self.url is not None or self.url_file is not None

    def target(self) -> str:
        """Return the URL as it is now; raises `Away` when its file cannot be read."""
        return secret_text.read(_URL, self.url, self.url_file)

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
        try:
            headers = headers_of(event.id, int(self._now_s()), body, self._settings.keys())
            await self._sender.post(body, headers)
        except Away as error:
            raise Unavailable(TARGET, retry_after_s=error.after_s) from error
        except Refused as error:
            raise GiveUp(error.reason) from None


def body_of(event: Event[Raw]) -> bytes:
    """Return what is sent: what is known of the event, and as `data` its own JSON, byte by byte where it is plain."""
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
    async with opened(WebhookSender(settings.target, plain_http=settings.plain_http)) as sender:
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
