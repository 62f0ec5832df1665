"""The settings of a target that handlers send to, and the outcomes that its answers mean."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode

from handlers import GiveUp, Unavailable
from handlers.builtin import secret_text
from handlers.builtin.webhook_sender import Away, Refused, WebhookSender, fault_of, opened


def _split(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Names, separated by commas or blanks."""


class TargetSettings(BaseSettings, env_ignore_empty=True):
    """Where to send. The class of a handler adds its prefix and its own settings."""

    url: SecretStr | None = Field(default=None, description="where to POST; a secret")
    url_file: Path | None = Field(default=None, description="file with that URL instead; read for each POST")
    plain_http: bool = Field(default=False, validation_alias="AWR_ALLOW_PLAIN_HTTP")

    @model_validator(mode="after")
    def _one_target(self) -> TargetSettings:
        name = self.variable("url")
        fault = secret_text.fault_of(name, self.url, self.url_file)
        if fault is None and self.url is not None:
            fault = fault_of(self.url.get_secret_value(), plain_http=self.plain_http)
            fault = fault and f"{name} {fault}"
        if fault is not None:
            raise ValueError(fault)
        return self

    @classmethod
    def variable(cls, field: str) -> str:
        """Return the environment variable of a field."""
        return f"{cls.model_config.get('env_prefix', '')}{field}".upper()

    @property
    def is_on(self) -> bool:
        """Whether there is a target."""
        return self.url is not None or self.url_file is not None

    def target(self) -> str:
        """Return the URL as it is now.

        Raises:
            Away: its file cannot be read.
        """
        return secret_text.read(self.variable("url"), self.url, self.url_file)

    @asynccontextmanager
    async def sender(self) -> AsyncIterator[WebhookSender]:
        """Open the sender of the target, and close it at the end of the block."""
        async with opened(WebhookSender(self.target, plain_http=self.plain_http)) as sender:
            yield sender


@contextmanager
def as_outcomes(dependency: str) -> Iterator[None]:
    """Turn errors of the sender in the block into outcomes of an attempt.

    Args:
        dependency: name of the target while it is away.

    Raises:
        Unavailable: the target is away; no attempt is spent.
        GiveUp: the target refuses what was sent.
    """
    try:
        yield
    except Away as error:
        raise Unavailable(dependency, retry_after_s=error.after_s) from error
    except Refused as error:
        raise GiveUp(error.reason) from None
