"""Settings about the two ports: their addresses, who may do what on the console, and limits on senders."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from ampeco.key_text import SHORT_CHARS
from receiver.setting_types import Names, Section, Token

_Port = Annotated[int, Field(ge=0, le=65535)]


def _host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9._-]+)?", value):
        raise ValueError("must be an address or a host name alone, such as 0.0.0.0 or ::1")
    return value


def _host_names(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?", value):
            raise ValueError("must be names alone, without scheme, port and path, such as ops.example.com")
    return tuple(value.lower() for value in values)


def _not_short(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < SHORT_CHARS:
        raise ValueError(f"has fewer than {SHORT_CHARS} characters, so it can be guessed")
    return value


_ConsoleToken = Annotated[Token, AfterValidator(_not_short)]


class PortSettings(Section):
    """What the process serves, and how much a sender may ask of it."""

    host: Annotated[str, AfterValidator(_host)] = Field(
        "127.0.0.1", description="address of the public port: webhook and `/health/*`"
    )
    port: _Port = Field(8080, description="the public port")
    admin_host: Annotated[str, AfterValidator(_host)] = Field(
        "127.0.0.1", description="address of the admin port: metrics, detailed health and `/console`"
    )
    admin_port: _Port = Field(9090, description="the admin port")
    console_token: _ConsoleToken | None = Field(
        None, description="lets the console change things after a log-in with it (unset: read only)"
    )
    console_bodies_token: _ConsoleToken | None = Field(
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
