"""Settings about AMPECO: the tenant, its keys, the webhook, the registration and what follows an outage."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from ampeco import base_url, key_text
from ampeco.listed_types import LISTED_TYPES
from ampeco.names import fault_of_type
from ampeco.nearest import did_you_mean
from ampeco.signature import SigningKey
from eventlog.internal import is_internal
from receiver.setting_types import Names, Section, Token, some, split
from receiver.verification import CHOICES

_SCHEME_NAMES = {"timestamp": "timestamp.body"}


def _types(values: tuple[str, ...]) -> tuple[str, ...]:
    for number, name in enumerate(values, 1):
        if fault := fault_of_type(name):
            raise ValueError(f"type {number} {fault}")
        if is_internal(name):
            raise ValueError(f"type {number} is one of our own, which AMPECO never sends: {name[:80]!r}")
    return values


def _backfilled(values: tuple[str, ...]) -> tuple[str, ...]:
    for name in values:
        if name not in LISTED_TYPES:
            raise ValueError(
                f"{name[:80]!r} is in no listing; possible are {', '.join(LISTED_TYPES)}"
                f"{did_you_mean(name, LISTED_TYPES)}"
            )
    return values


def _base_url(value: str) -> str:
    if (fault := base_url.fault_of(value)) is not None:
        raise ValueError(fault)
    return value.rstrip("/")


def _tenant_url(value: str) -> str:
    bare = _base_url(value)
    if "/public-api" in urlsplit(bare).path:
        raise ValueError("must end before /public-api")
    return bare


def _path(value: str) -> str:
    # Clients leave out `.` and `..` before they send, so such a path would never be asked for.
    if not re.fullmatch(r"(/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+", value) or value.startswith("/health/"):
        raise ValueError("must be a plain path such as /webhooks/ampeco, outside /health")
    return value


def _scheme(value: str) -> str:
    found = _SCHEME_NAMES.get(value, value)
    if found not in CHOICES:
        raise ValueError(f"must be one of {', '.join(sorted({*CHOICES, *_SCHEME_NAMES}))}")
    return found


def _keys(values: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for value in values:
        if (fault := key_text.fault_of(value.get_secret_value(), sendable=False)) is not None:
            raise ValueError(f"a key {fault}")
    return values


_Keys = Annotated[tuple[SecretStr, ...], BeforeValidator(split), AfterValidator(some), AfterValidator(_keys)]


class TenantSettings(Section):
    """How the receiver and AMPECO find and recognize each other."""

    tenant_url: Annotated[str, AfterValidator(_tenant_url)] | None = Field(
        None,
        description="`https://tenant` without `/public-api`; the first start binds the log to this tenant",
    )
    api_token: Token | None = Field(
        None,
        description="bearer token for AMPECO's API; also the signing key of the subscription that it creates",
    )
    api_token_next: Token | None = Field(
        None,
        description="the API token to rotate to, while `registration rotate-token` is under way; receivers accept it "
        "as a signing key",
    )
    signing_keys: _Keys | None = Field(
        None, description="accepted signing keys, comma or newline separated (unset: the API token)"
    )
    public_url: Annotated[str, AfterValidator(_base_url)] | None = Field(
        None, description="base URL under which AMPECO reaches this service"
    )
    allow_plain_http: bool = Field(
        False,
        description="whether tenant and public URL may be http beyond this machine, readable on the way",
    )
    webhook_path: Annotated[str, AfterValidator(_path)] = Field(
        "/webhooks/ampeco", description="path of the webhook endpoint on the public port"
    )
    accept_status: int = Field(
        202, ge=200, le=299, description="HTTP status of the answer to an accepted event"
    )
    signature_scheme: Annotated[str, AfterValidator(_scheme)] = Field(
        "body",
        description="the signed text: `body`; `timestamp.body` (value of `X-Timestamp`, a dot, the body; "
        "`timestamp` means the same), `timestamp+body` (no dot), `body.timestamp`, `body+timestamp`; "
        "`auto` detects it",
    )
    signature_tolerance_s: int | None = Field(
        None,
        ge=1,
        le=30 * 86_400,
        description="age in seconds from which a signed timestamp is refused (unset: never; older than 300 s, "
        "the event is marked `stale`); needs a scheme with a timestamp",
    )
    registration: Literal["auto", "ephemeral", "off"] = Field(
        "auto",
        alias="AWR_REGISTER",
        description="`auto`, `ephemeral` (subscribes at start, unsubscribes at exit; default of `run`) or `off`",
    )
    registration_check_s: float = Field(
        60.0, ge=5, le=3600, description="time between two checks of the registration at AMPECO, in seconds"
    )
    notifications: Annotated[Names, AfterValidator(_types)] | None = Field(
        None, description="the types to subscribe (unset: those that the handlers want)"
    )
    backfill: Annotated[Names, AfterValidator(_backfilled)] | None = Field(
        None,
        description="types that are compared with AMPECO's listings after a gap; what is missing is appended, marked "
        f"`reconstructed` (unset: none; possible: {', '.join(f'`{name}`' for name in LISTED_TYPES)})",
    )
    backfill_after_s: float = Field(
        300.0,
        ge=1,
        le=86_400,
        description="seconds after the resend until a gap is compared, for what is still on its way",
    )

    @property
    def callback_url(self) -> str | None:
        """The URL to which AMPECO delivers; None without a public URL."""
        return None if self.public_url is None else self.public_url + self.webhook_path

    @property
    def accepted_keys(self) -> tuple[SigningKey, ...]:
        """The accepted signing keys in order; empty when none is configured."""
        secrets = self.signing_keys or ((self.api_token,) if self.api_token else ())
        if self.api_token_next and secrets:
            secrets = (*secrets, self.api_token_next)
        keys = dict.fromkeys(secret.get_secret_value() for secret in secrets)
        return tuple(SigningKey.of(secret) for secret in keys)

    @property
    def short_keys(self) -> tuple[str, ...]:
        """The names of the settings that hold a key which is short enough to be guessed."""
        held = {
            "AWR_API_TOKEN": (self.api_token,),
            "AWR_API_TOKEN_NEXT": (self.api_token_next,),
            "AWR_SIGNING_KEYS": self.signing_keys or (),
        }
        return tuple(
            name
            for name, keys in held.items()
            if any(key and len(key.get_secret_value()) < key_text.SHORT_CHARS for key in keys)
        )
