"""The settings: what can be configured, read from the environment and from secret files, and nothing else.

It reads, checks and describes. It refuses to guess: unknown names, empty values, a name given twice and
values that Kubernetes put there by accident end the start with one line that says what to do. It opens no
connection and knows nothing of handlers.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from ampeco.signature import SigningKey
from eventlog.connection.connect import check_url
from eventlog.durability import check_durability
from eventlog.retention import Keep
from receiver.errors import SettingsError
from receiver.verification import CHOICES

PREFIX = "AWR_"
SECRETS_DIR = "AWR_SECRETS_DIR"

_LINKED_NAME = re.compile(
    r"AWR(_\w+)?(_SERVICE_(HOST|PORT(_\w+)?)|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_LINKED_VALUE = re.compile(r"(tcp|udp|sctp)://\S+:\d+")


_SCHEME_NAMES = {"timestamp": "timestamp.body"}


def _split(value: object) -> object:
    """A text of several values, separated by commas or line ends, becomes their tuple."""
    if isinstance(value, str):
        return tuple(part.strip() for part in re.split(r"[,\n]", value) if part.strip())
    return value


def _some(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("names nothing")
    return values


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must look like https://host")
    if parts.query or parts.fragment or parts.username:
        raise ValueError("must be a bare URL, without user, query or fragment")
    return value.rstrip("/")


def _tenant_url(value: str) -> str:
    if "/public-api" in urlsplit(value).path:
        raise ValueError("must end before /public-api")
    return _base_url(value)


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


def _token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[\x21-\x7e]+", value.get_secret_value()):
        raise ValueError("holds a blank, a line end or a character that no HTTP header can carry")
    return value


def _prefix(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+:", value):
        raise ValueError("must be letters, digits, '.', '_' or '-' and end with ':'")
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_some)]
Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_split), AfterValidator(_some)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseModel):
    """Every setting, checked. Optional ones are None until a command that needs them asks (`need`)."""

    # No pydantic-settings model: those ignore unknown names in the environment, the very thing to refuse.
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, alias_generator=lambda name: PREFIX + name.upper()
    )

    tenant_url: Annotated[str, AfterValidator(_tenant_url)] | None = Field(
        None, description="`https://tenant` without `/public-api`; the first start ties the log to it"
    )
    api_token: Annotated[SecretStr, AfterValidator(_token)] | None = Field(
        None, description="bearer token; also the signing key of the subscription it creates"
    )
    signing_keys: Secrets | None = Field(
        None, description="accepted signing keys, comma or newline separated (unset: the API token)"
    )
    public_url: Annotated[str, AfterValidator(_base_url)] | None = Field(
        None, description="base URL under which AMPECO reaches this service"
    )
    webhook_path: Annotated[str, AfterValidator(_path)] = Field(
        "/webhooks/ampeco", description="path of the webhook on the public port"
    )
    accept_status: int = Field(202, ge=200, le=299, description="HTTP status that answers an accepted event")
    signature_scheme: Annotated[str, AfterValidator(_scheme)] = Field(
        "body",
        description="what is signed: `body`; `timestamp.body` (the text of `X-Timestamp`, a dot, the body; also "
        "named `timestamp`), `timestamp+body` (no dot), `body.timestamp`, `body+timestamp`; `auto`: finds out",
    )
    signature_tolerance_s: int | None = Field(
        None,
        ge=1,
        le=30 * 86_400,
        description="seconds after which a signed timestamp is refused (unset: never; after 300 the event is marked "
        "`stale`); needs a scheme with a timestamp",
    )
    registration: Literal["auto", "ephemeral", "off"] = Field(
        "auto",
        alias="AWR_REGISTER",
        description="`auto`, `ephemeral` (subscribe at start, remove at exit; default of `run`) or `off`",
    )
    notifications: Names | None = Field(
        None, description="pins the subscribed types (unset: whatever the handlers want)"
    )
    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = Field(
        None,
        description="`redis://`, `rediss://`, `unix://` or `redis+sentinel://host:port,.../SERVICE`; "
        "embedded in `demo`, `dev` and `run` when unset",
    )
    key_prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        "awr:", description="prefix of every Redis key, RQ's included"
    )
    data_dir: Path = Field(
        Path("~/.local/state/ampeco-receiver"),
        description="folder of the embedded store (or under `$STATE_DIRECTORY`, `$XDG_STATE_HOME`)",
    )
    lanes: int = Field(16, ge=1, le=1024, description="number of lanes, fixed for the life of a log")
    durability: Annotated[str, AfterValidator(check_durability)] = Field(
        "always",
        description="when an event counts as accepted: `always` or `everysec` (Redis's `appendfsync`), "
        "`replicated:n` (n replicas have it)",
    )
    duplicate_hours: int = Field(24, ge=1, le=168, description="hours for which an equal body is known again")
    keep_hours: int = Field(24, ge=1, le=8760, description="hours for which an event is kept at least")
    log_max_bytes: int = Field(
        1 << 30,
        ge=1 << 20,
        description="bytes that events, open ones, dead letters, the quarantine and the record of the last event "
        "of each entity may take up in Redis",
    )
    history_days: int = Field(
        7, ge=1, le=365, description="days for which it is known what became of an event"
    )
    ledger_days: int = Field(
        30, ge=1, le=365, description="days in which a once-only step of a settled event is known"
    )
    entity_keys_file: Path | None = Field(
        None, description="JSON file that says which payload field is the entity key of a type"
    )
    handlers_allow: Names | None = Field(None, description="the only handlers that may run (unset: all)")
    plugins_strict: bool = Field(False, description="refuse the start when a plugin is faulty")
    isolated_memory_mb: int = Field(
        256, ge=16, le=1 << 20, description="MiB that an attempt of an isolated handler may take"
    )
    host: str = Field("127.0.0.1", description="address of the public door: webhook and `/health/*`")
    port: Port = Field(8080, description="port of the public door")
    admin_host: str = Field("127.0.0.1", description="address of metrics and detailed health")
    admin_port: Port = Field(9090, description="port of metrics and detailed health")
    max_body_bytes: int = Field(
        1048576, ge=1024, le=32 * 1048576, description="largest accepted body, in bytes"
    )
    log_format: Literal["auto", "json", "pretty"] = Field(
        "auto", description="`json`, `pretty`, or `auto`: json in a pipe, pretty on a terminal"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level that is logged"
    )
    secrets_dir: Path | None = Field(
        None, description="folder of files named like settings; re-read when they change"
    )

    @property
    def keep(self) -> Keep:
        """What of the log is to be kept."""
        return Keep(self.keep_hours, self.log_max_bytes, self.history_days, self.duplicate_hours)

    @property
    def callback_url(self) -> str | None:
        """Where AMPECO is told to deliver, or None without a public URL."""
        return None if self.public_url is None else self.public_url + self.webhook_path

    @property
    def accepted_keys(self) -> tuple[SigningKey, ...]:
        """The keys a signature may be made with, in order; empty when none is configured."""
        secrets = self.signing_keys or ((self.api_token,) if self.api_token else ())
        return tuple(SigningKey.of(secret.get_secret_value()) for secret in secrets)

    def summary(self) -> dict[str, object]:
        """Every setting for the log: values, and of secrets only whether they are there."""
        return {
            (f"{field}_configured" if is_secret(name) else field): (
                getattr(self, field) is not None if is_secret(name) else _plain(getattr(self, field))
            )
            for name, field in FIELDS.items()
        }


FIELDS: Mapping[str, str] = {str(info.alias): field for field, info in Settings.model_fields.items()}
"""Environment name -> field name, in the order of the documentation."""


def is_secret(name: str) -> bool:
    """Whether the value of this setting must never be shown."""
    return "SecretStr" in str(Settings.model_fields[FIELDS[name]].annotation)


@dataclass(frozen=True, slots=True)
class Given:
    """One value as somebody wrote it, and where: `env` or `file`."""

    text: str
    source: str


def load(
    environ: Mapping[str, str],
    *,
    need: Iterable[str] = (),
    defaults: Mapping[str, str] | None = None,
) -> Settings:
    """Read and check all settings.

    Args:
        environ: the environment.
        need: names (`AWR_REDIS_URL`, ...) the command cannot do without; the API token satisfies
            `AWR_SIGNING_KEYS`.
        defaults: defaults of this command that differ from the general ones.

    Raises:
        SettingsError: for the first fault found.
    """
    values = {name: given.text for name, given in given_values(environ).items()}
    try:
        settings = Settings.model_validate(
            {"AWR_DATA_DIR": str(_state_folder(environ)), **(defaults or {}), **values}
        )
    except ValidationError as error:
        raise _told(error) from None
    if settings.signature_tolerance_s is not None and settings.signature_scheme == "body":
        raise SettingsError(
            "AWR_SIGNATURE_TOLERANCE_S",
            "has no effect while only the body is signed",
            "unset it, or set AWR_SIGNATURE_SCHEME to a scheme with a timestamp",
        )
    demand(settings, need)
    return settings


def serving_needs(settings: Settings) -> tuple[str, ...]:
    """What a process that opens the door cannot do without: more when it registers itself."""
    if settings.registration == "off":
        return ("AWR_REDIS_URL", "AWR_SIGNING_KEYS")
    return ("AWR_REDIS_URL", "AWR_TENANT_URL", "AWR_API_TOKEN", "AWR_PUBLIC_URL")


def demand(settings: Settings, need: Iterable[str]) -> None:
    """Insist on settings.

    Raises:
        SettingsError: one of them is not set.
    """
    for name in need:
        _demand(settings, name)


def given_values(environ: Mapping[str, str]) -> dict[str, Given]:
    """What was set, unparsed: name -> text and source.

    Raises:
        SettingsError: an unknown name, an empty value, a name set in both places, a service link.
    """
    given: dict[str, Given] = {}
    for name, text in environ.items():
        if name.startswith(PREFIX) and _concerns_us(name, text):
            given[name] = Given(text, "env")
    if SECRETS_DIR in given:
        for name, text in _read_files(Path(given[SECRETS_DIR].text)).items():
            if name in given:
                raise SettingsError(
                    name, f"is set in the environment and in {SECRETS_DIR}", "remove one of them"
                )
            given[name] = Given(text, "file")
    for name, value in given.items():
        if not value.text.strip():
            raise SettingsError(name, "is empty", "give it a value or unset it")
    return given


def _state_folder(environ: Mapping[str, str]) -> Path:
    if environ.get("STATE_DIRECTORY"):  # systemd's, which may name several
        return Path(environ["STATE_DIRECTORY"].split(":")[0])
    if environ.get("XDG_STATE_HOME"):
        return Path(environ["XDG_STATE_HOME"]) / "ampeco-receiver"
    return Path(environ.get("HOME", "/tmp")) / ".local/state/ampeco-receiver"  # noqa: S108


def _concerns_us(name: str, text: str) -> bool:
    if name in FIELDS:
        if _LINKED_VALUE.fullmatch(text) and not name.endswith("_URL"):
            raise SettingsError(
                name,
                "holds a Kubernetes service link, not a value",
                "set enableServiceLinks: false in the pod, or rename the Service",
            )
        return True
    if _LINKED_NAME.fullmatch(name) or (name.endswith("_PORT") and _LINKED_VALUE.fullmatch(text)):
        return False
    near = difflib.get_close_matches(name, FIELDS, n=1, cutoff=0.6)
    raise SettingsError(name, "is no setting", f"did you mean {near[0]}?" if near else "unset it")


def _read_files(folder: Path) -> dict[str, str]:
    try:
        paths = [path for path in sorted(folder.iterdir()) if path.name.startswith(PREFIX) and path.is_file()]
        texts = {path.name: path.read_bytes().decode() for path in paths}
    except (OSError, UnicodeDecodeError) as error:
        fault = error.strerror if isinstance(error, OSError) else "a file is not UTF-8"
        raise SettingsError(
            SECRETS_DIR, f"cannot be read ({fault})", "make it a folder of readable text files"
        ) from None
    for name, text in texts.items():
        _concerns_us(name, text)
        if name == SECRETS_DIR:
            raise SettingsError(name, "cannot be a file in itself", "set it in the environment")
    return {name: re.sub(r"\r?\n\Z", "", text) for name, text in texts.items()}


def _told(error: ValidationError) -> SettingsError:
    """The first complaint of pydantic as ours; the value itself is left out, since it may be a secret."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    name = str(first["loc"][0])
    fault = first["msg"].removeprefix("Value error, ")
    return SettingsError(name, fault[:1].lower() + fault[1:], f"it is: {description(name)}")


def _demand(settings: Settings, name: str) -> None:
    if getattr(settings, FIELDS[name]) is not None:
        return
    if name == "AWR_SIGNING_KEYS":
        if settings.api_token is None:
            raise SettingsError(
                name,
                "no signing key is configured, and nothing unsigned is accepted",
                "set AWR_API_TOKEN (the token that subscribes) or AWR_SIGNING_KEYS",
            )
        return
    raise SettingsError(name, "is not set", f"set it to: {description(name)}")


def description(name: str) -> str:
    """What the setting means, in one line."""
    return str(Settings.model_fields[FIELDS[name]].description)


def default_text(name: str) -> str:
    """The default as a user would write it, or an empty text."""
    default = Settings.model_fields[FIELDS[name]].default
    return "" if default is None else str(_plain(default))


@dataclass(frozen=True, slots=True)
class Row:
    """One setting as `settings` shows it; a secret's value is masked, an unset one is None."""

    name: str
    value: str | None
    source: str


def resolved(environ: Mapping[str, str]) -> list[Row]:
    """Every setting, its value and where that came from: `env`, `file` or `default`.

    Raises:
        SettingsError: something is set that cannot be; what is merely missing is no fault here.
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
    """The README's table of settings."""
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
