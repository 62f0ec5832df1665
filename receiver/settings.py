"""The settings as a whole: put together from their sections, loaded, demanded and shown.

A wrong value ends the start with one line that says how to fix it. `settings_source.py` reads the texts; each
section checks its values. This module opens no connection and knows nothing of handlers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError

from eventlog.connection import cluster
from receiver import settings_source
from receiver.errors import SettingsError
from receiver.event_log_settings import EventLogSettings
from receiver.handler_settings import HandlerSettings
from receiver.port_settings import PortSettings
from receiver.settings_checks import refuse_long_callback, refuse_odd_proxy, refuse_plain_http
from receiver.settings_source import Given, state_folder
from receiver.tenant_settings import TenantSettings


# The README's table has the sections from the last base to the first.
class Settings(PortSettings, HandlerSettings, EventLogSettings, TenantSettings):
    """Every setting, checked. An optional one may be None; a command demands those it needs (`demand`)."""

    log_format: Literal["auto", "json", "pretty"] = Field(
        "auto", description="`json`, `pretty`, or `auto` (`pretty` on a terminal, else `json`)"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="lowest level that is logged"
    )
    secrets_dir: Path | None = Field(
        None, description="folder of files named like settings; read again when they change"
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
