"""The settings: their names, defaults, descriptions and checks.

A wrong value ends the start with one line that says how to fix it. `settings_source.py` reads the texts.
This module opens no connection and knows nothing of handlers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from ampeco import base_url, key_text
from ampeco.listed_types import LISTED_TYPES
from ampeco.names import fault_of_queue, fault_of_type
from ampeco.nearest import did_you_mean
from ampeco.signature import SigningKey
from eventlog.connection import cluster, credentials
from eventlog.connection.connect import check_url
from eventlog.durability import check_durability
from eventlog.ids import HANDLER_NAME
from eventlog.retention import Keep
from receiver import settings_source
from receiver.errors import SettingsError
from receiver.settings_checks import refuse_long_callback, refuse_odd_proxy, refuse_plain_http
from receiver.settings_source import PREFIX, Given, state_folder
from receiver.verification import CHOICES

_SCHEME_NAMES = {"timestamp": "timestamp.body"}


def _split(value: object) -> object:
    """Split a text at commas and line ends; leave other values alone."""
    if isinstance(value, str):
        return tuple(part.strip() for part in re.split(r"[,\n]", value) if part.strip())
    return value


def _some(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("has no entry")
    return values


def _types(values: tuple[str, ...]) -> tuple[str, ...]:
    for number, name in enumerate(values, 1):
        if fault := fault_of_type(name):
            raise ValueError(f"type {number} {fault}")
    return values


def _backfilled(values: tuple[str, ...]) -> tuple[str, ...]:
    for name in values:
        if name not in LISTED_TYPES:
            raise ValueError(
                f"{name[:80]!r} is in no listing; possible are {', '.join(LISTED_TYPES)}"
                f"{did_you_mean(name, LISTED_TYPES)}"
            )
    return values


def _queues(values: tuple[str, ...]) -> tuple[str, ...]:
    named: set[str] = set()
    for number, entry in enumerate(values, 1):
        handler, equals, queue = entry.partition("=")
        if not equals or not HANDLER_NAME.fullmatch(handler):
            raise ValueError(f"entry {number} is not HANDLER=QUEUE")
        if fault := fault_of_queue(queue):
            raise ValueError(f"the queue of entry {number} {fault}")
        if queue.endswith(".isolated"):
            raise ValueError(f"the queue of entry {number} ends with .isolated; name the queue before it")
        if handler in named:
            raise ValueError(f"entry {number} names {handler} again")
        named.add(handler)
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


def _host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9._-]+)?", value):
        raise ValueError("must be an address or a host name alone, such as 0.0.0.0 or ::1")
    return value


def _host_names(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?", value):
            raise ValueError("must be names alone, without scheme, port and path, such as ops.example.com")
    return tuple(value.lower() for value in values)


def _path(value: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value) or value.startswith("/health/"):
        raise ValueError("must be a plain path such as /webhooks/ampeco, outside /health")
    return value


def _scheme(value: str) -> str:
    found = _SCHEME_NAMES.get(value, value)
    if found not in CHOICES:
        raise ValueError(f"must be one of {', '.join(sorted({*CHOICES, *_SCHEME_NAMES}))}")
    return found


def _redis_url(value: SecretStr) -> SecretStr:
    check_url(value.get_secret_value())
    return value


def _credentials(value: str) -> str:
    credentials.load(value)
    return value


def _token(value: SecretStr) -> SecretStr:
    if (fault := key_text.fault_of(value.get_secret_value())) is not None:
        raise ValueError(fault)
    return value


def _console_token(value: SecretStr) -> SecretStr:
    _token(value)
    if len(value.get_secret_value()) < key_text.SHORT_CHARS:
        raise ValueError(f"has fewer than {key_text.SHORT_CHARS} characters, so it can be guessed")
    return value


def _keys(values: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for value in values:
        if (fault := key_text.fault_of(value.get_secret_value(), sendable=False)) is not None:
            raise ValueError(f"a key {fault}")
    return values


def _prefix(value: str) -> str:
    part = "[A-Za-z0-9._-]"
    if not re.fullmatch(rf"(?!:){part}*(\{{{part}+\}}{part}*)?:", value):
        raise ValueError("must be letters, digits, '.', '_' or '-' (a part may be in {}) and end with ':'")
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_some)]
Secrets = Annotated[
    tuple[SecretStr, ...], BeforeValidator(_split), AfterValidator(_some), AfterValidator(_keys)
]
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseModel):
    """Every setting, checked. An optional one may be None; a command demands those it needs (`demand`)."""

    # Not a pydantic-settings model: that would ignore unknown names in the environment. We refuse them.
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, alias_generator=lambda name: PREFIX + name.upper()
    )

    tenant_url: Annotated[str, AfterValidator(_tenant_url)] | None = Field(
        None,
        description="`https://tenant` without `/public-api`; the first start binds the log to this tenant",
    )
    api_token: Annotated[SecretStr, AfterValidator(_token)] | None = Field(
        None,
        description="bearer token for AMPECO's API; also the signing key of the subscription that it creates",
    )
    api_token_next: Annotated[SecretStr, AfterValidator(_token)] | None = Field(
        None,
        description="the API token to rotate to, while `registration rotate-token` is under way; receivers accept it "
        "as a signing key",
    )
    signing_keys: Secrets | None = Field(
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
    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = Field(
        None,
        description="`redis://`, `rediss://`, `unix://`, `redis+sentinel://host:port,.../SERVICE` or "
        "`redis+cluster://host:port,...`; embedded in `demo`, `dev` and `run` when unset",
    )
    redis_credentials: Annotated[str, AfterValidator(_credentials)] | None = Field(
        None,
        description="`module:function` that returns user and password for each new connection to Redis, such as a "
        "token that expires (unset: those of `AWR_REDIS_URL`)",
    )
    evicting_redis: Literal["accept-loss"] | None = Field(
        None,
        description="`accept-loss` to start on a Redis whose `maxmemory-policy` is not `noeviction`, and may delete "
        "accepted events",
    )
    key_prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        "awr:",
        description="prefix of every Redis key, including RQ's; on a cluster `awr:` means `{awr}:`, one hash slot",
    )
    data_dir: Path | None = Field(
        Path("~/.local/state/ampeco-receiver"),
        description="folder of the embedded store, of this user alone; `$STATE_DIRECTORY` or `$XDG_STATE_HOME` "
        "changes the default",
    )
    lanes: int = Field(16, ge=1, le=1024, description="number of lanes, fixed for the life of a log")
    durability: Annotated[str, AfterValidator(check_durability)] = Field(
        "always",
        description="when an event counts as accepted: `always` or `everysec` (Redis's `appendfsync`), or "
        "`replicated:n` (n replicas have it)",
    )
    duplicate_hours: int = Field(
        24, ge=1, le=168, description="hours during which an equal body counts as a duplicate"
    )
    keep_hours: int = Field(24, ge=1, le=8760, description="minimum hours for which an event is kept")
    log_max_bytes: int = Field(
        1 << 30,
        ge=1 << 20,
        description="bytes that the log may use in Redis: events, open deliveries, dead letters, the quarantine, the "
        "duplicate window, the history, once-only steps, timers, states and counters",
    )
    history_days: int = Field(7, ge=1, le=365, description="days for which the outcome of an event is kept")
    ledger_days: int = Field(
        30, ge=1, le=365, description="days for which the once-only steps of a settled event are kept"
    )
    entity_keys_file: Path | None = Field(
        None, description="JSON file that names, for each type, the payload field with the entity key"
    )
    handlers_allow: Names | None = Field(None, description="the only handlers that may run (unset: all)")
    queue_of: Annotated[Names, AfterValidator(_queues)] | None = Field(
        None,
        description="`handler=queue,...`: queues of handlers in this deployment, where not the declared ones; "
        "the same for all workers",
    )
    plugins_strict: bool = Field(False, description="whether a faulty plugin prevents the start")
    catch_up_per_s: float | None = Field(
        None,
        gt=0,
        description="most deliveries per second, for each handler, of events older than 60 s (unset: no bound)",
    )
    api_calls_per_s: float | None = Field(
        None,
        gt=0,
        le=10_000,
        description="most calls to AMPECO per second, of all processes together (unset: what AMPECO's answers say)",
    )
    loop_depth: int = Field(
        5,
        ge=1,
        le=100,
        description="most actions on one entity within ten minutes that answer the echo of an action of ours",
    )
    isolated_memory_mb: int = Field(
        256, ge=16, le=1 << 20, description="memory limit of an isolated handler's attempt, in MiB"
    )
    host: Annotated[str, AfterValidator(_host)] = Field(
        "127.0.0.1", description="address of the public port: webhook and `/health/*`"
    )
    port: Port = Field(8080, description="the public port")
    admin_host: Annotated[str, AfterValidator(_host)] = Field(
        "127.0.0.1", description="address of the admin port: metrics, detailed health and `/console`"
    )
    admin_port: Port = Field(9090, description="the admin port")
    console_token: Annotated[SecretStr, AfterValidator(_console_token)] | None = Field(
        None, description="lets the console change things after a log-in with it (unset: read only)"
    )
    console_bodies_token: Annotated[SecretStr, AfterValidator(_console_token)] | None = Field(
        None, description="lets the console show the bodies of events after a log-in with it (unset: never)"
    )
    console_hosts: Annotated[Names, AfterValidator(_host_names)] | None = Field(
        None,
        description="names under which the console is opened, such as that of an Ingress; another is answered with "
        "421 (IP addresses, `localhost`, the machine's own name and `AWR_ADMIN_HOST` always count)",
    )
    max_body_bytes: int = Field(
        1048576, ge=1024, le=32 * 1048576, description="largest accepted body, in bytes"
    )
    max_head_bytes: int = Field(
        16384,
        ge=4096,
        le=1048576,
        description="largest request line with headers, in bytes; also of what a chunked body has in addition to its "
        "data; this and the next three hold on both ports",
    )
    max_headers: int = Field(
        100, ge=20, le=10_000, description="most headers of a request; also most trailers of a chunked body"
    )
    head_timeout_s: float = Field(
        10.0,
        gt=0,
        le=3600,
        description="time for a head to arrive, in seconds, from the connection or from its first byte",
    )
    max_pipelined: int = Field(
        16, ge=1, le=1000, description="most requests of one connection that wait for their answers"
    )
    max_connections: int = Field(
        2048,
        ge=16,
        le=1_000_000,
        description="most open connections of a process on the public port; a new one closes those that were silent "
        "longest (the admin port has 128)",
    )
    log_format: Literal["auto", "json", "pretty"] = Field(
        "auto", description="`json`, `pretty`, or `auto` (`pretty` on a terminal, else `json`)"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="lowest level that is logged"
    )
    secrets_dir: Path | None = Field(
        None, description="folder of files named like settings; read again when they change"
    )

    @property
    def keep(self) -> Keep:
        """How much of the log retention keeps."""
        return Keep(self.keep_hours, self.log_max_bytes, self.history_days, self.duplicate_hours)

    @property
    def queues(self) -> dict[str, str]:
        """The queues of `AWR_QUEUE_OF`, by the name of the handler."""
        return dict(entry.split("=", 1) for entry in self.queue_of or ())

    @property
    def may_evict(self) -> bool:
        """Whether the operator accepts a Redis that may delete events."""
        return self.evicting_redis is not None

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

    def summary(self) -> dict[str, object]:
        """Describe every setting for the log: its value, or for a secret only whether it is set."""
        return {
            (f"{field}_configured" if is_secret(name) else field): (
                getattr(self, field) is not None if is_secret(name) else _plain(getattr(self, field))
            )
            for name, field in FIELDS.items()
        }


FIELDS: Mapping[str, str] = {str(info.alias): field for field, info in Settings.model_fields.items()}
"""Environment name -> field name, in the order of the README's table."""


def is_secret(name: str) -> bool:
    """Return whether the value of this setting must never be shown."""
    return "SecretStr" in str(Settings.model_fields[FIELDS[name]].annotation)


def load(
    environ: Mapping[str, str],
    *,
    need: Iterable[str] = (),
    defaults: Mapping[str, str] | None = None,
    without: Collection[str] = (),
) -> Settings:
    """Read and check all settings.

    Args:
        need: names that the command demands; the API token satisfies `AWR_SIGNING_KEYS`.
        defaults: defaults of this command that differ from the general ones.
        without: names that are read as if they were not set.

    Raises:
        SettingsError: the first fault found.
    """
    environ = {name: text for name, text in environ.items() if name not in without}
    values = {name: given.text for name, given in given_values(environ, without).items()}
    try:
        settings = Settings.model_validate(
            {"AWR_DATA_DIR": state_folder(environ), **(defaults or {}), **values}
        )
    except ValidationError as error:
        raise _first_fault(error) from None
    settings = _in_one_slot(settings)
    refuse_plain_http(settings)
    refuse_long_callback(settings)
    refuse_odd_proxy(settings, environ)
    if settings.signature_tolerance_s is not None and settings.signature_scheme == "body":
        raise SettingsError(
            "AWR_SIGNATURE_TOLERANCE_S",
            "has no effect when only the body is signed",
            "unset it, or set AWR_SIGNATURE_SCHEME to a scheme with a timestamp",
        )
    demand(settings, need)
    return settings


def _in_one_slot(settings: Settings) -> Settings:
    """On a cluster, give all keys one hash tag, and write it into the URL, so that clients find the slot's owner."""
    if settings.redis_url is None or not cluster.is_cluster(url := settings.redis_url.get_secret_value()):
        return settings
    prefix = cluster.tagged(settings.key_prefix)
    return settings.model_copy(
        update={"key_prefix": prefix, "redis_url": SecretStr(cluster.for_log(url, prefix))}
    )


def serving_needs(settings: Settings) -> tuple[str, ...]:
    """Return the names that a serving process needs; it needs more when it registers itself."""
    if settings.registration == "off":
        return ("AWR_REDIS_URL", "AWR_SIGNING_KEYS")
    return ("AWR_REDIS_URL", "AWR_TENANT_URL", "AWR_API_TOKEN", "AWR_PUBLIC_URL")


def demand(settings: Settings, need: Iterable[str]) -> None:
    """Refuse settings that lack one of these names; the API token satisfies `AWR_SIGNING_KEYS`."""
    for name in need:
        if getattr(settings, FIELDS[name]) is not None:
            continue
        if name != "AWR_SIGNING_KEYS":
            raise SettingsError(name, "is not set", f"set it to: {description(name)}")
        if settings.api_token is None:
            raise SettingsError(
                name,
                "no signing key is configured, and unsigned requests are never accepted",
                "set AWR_API_TOKEN (the token that subscribes) or AWR_SIGNING_KEYS",
            )


def given_values(environ: Mapping[str, str], without: Collection[str] = ()) -> dict[str, Given]:
    """Return what is set, unparsed: name -> text and source. Raises what `settings_source.read` raises."""
    return settings_source.read(environ, FIELDS, without)


def _first_fault(error: ValidationError) -> SettingsError:
    """Turn pydantic's first error into ours. The value is left out, since it may be a secret."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    name = str(first["loc"][0])
    fault = first["msg"].removeprefix("Value error, ")
    return SettingsError(name, fault[:1].lower() + fault[1:], f"expected: {description(name)}")


def description(name: str) -> str:
    """Return what the setting means, in one line."""
    return str(Settings.model_fields[FIELDS[name]].description)


def default_text(name: str) -> str:
    """Return the default as a user would write it; empty if there is none."""
    default = Settings.model_fields[FIELDS[name]].default
    return "" if default is None else str(_plain(default))


@dataclass(frozen=True, slots=True)
class Row:
    """One setting as the command `settings` shows it. A secret is masked; an unset value is None."""

    name: str
    value: str | None
    source: str


def resolved(environ: Mapping[str, str]) -> list[Row]:
    """Return every setting with its value and source: `env`, `file` or `default`.

    Raises:
        SettingsError: a value is refused. A missing value is not an error here.
    """
    given = given_values(environ)
    settings = load(environ)
    rows = []
    for name, field in FIELDS.items():
        value = getattr(settings, field)
        text = None if value is None else "********" if is_secret(name) else str(_plain(value))
        rows.append(Row(name, text, given[name].source if name in given else "default"))
    return rows


def markdown_table() -> str:
    """Render the README's table of settings."""
    rows = ["| name | default | meaning |", "|---|---|---|"]
    for name in FIELDS:
        default = default_text(name)
        rows.append(f"| `{name}` | {f'`{default}`' if default else '-'} | {description(name)} |")
    return "\n".join(rows) + "\n"


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    return str(value) if isinstance(value, Path) else value
