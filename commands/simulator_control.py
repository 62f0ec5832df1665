"""Drives a running simulator through its control endpoints. It knows HTTP and nothing of what it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote

import click
import httpx2
from pydantic_core import from_json

from ampeco import base_url
from ampeco.answer_body import AnswerBody
from ampeco.wire import one_line
from receiver.errors import Unreachable

_TIMEOUT_S = 10.0


class SimulatorControl:
    """The simulator at a URL."""

    def __init__(self, url: str) -> None:
        """
        Raises:
            click.BadParameter: it is not a URL of a simulator; it may hold a password and is not repeated.
        """
        if (fault := base_url.fault_of(url)) is not None:
            raise click.BadParameter(fault, param_hint="--url")
        self.url = url.rstrip("/")
        # No proxy stands before a simulator.
        self._client = httpx2.AsyncClient(timeout=_TIMEOUT_S, trust_env=False)

    async def state(self) -> dict[str, Any]:
        """Return everything that the simulator has counted."""
        return await self._ask("GET", "state")

    async def start(self, plan: Mapping[str, Any]) -> None:
        """Start charge points: charge_points, rate, count, seed."""
        await self._ask("POST", "start", plan)

    async def stop(self) -> None:
        """Stop new notifications; those on their way go on."""
        await self._ask("POST", "stop", {})

    async def sample(self, notification: str) -> dict[str, Any]:
        """Return a notification of this type that names objects of the simulator's API."""
        return await self._ask("GET", f"sample?notification={quote(notification)}")

    async def send(self, notification: str, body: Mapping[str, Any], charge_point: int | None = None) -> int:
        """Send one notification; return to how many notification subscriptions it goes."""
        letter = {"notification": notification, "body": body, "charge_point": charge_point}
        return int((await self._ask("POST", "send", letter))["made"])

    async def _ask(self, method: str, what: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """
        Raises:
            Unreachable: no simulator answers there.
            click.ClickException: it refuses.
        """
        where = f"{self.url}/simulator/{what}"
        try:
            async with (
                asyncio.timeout(_TIMEOUT_S),
                self._client.stream(
                    method, where, json=body, headers={"Accept-Encoding": "identity"}
                ) as response,
            ):
                answered = AnswerBody.of(response)
                async for piece in response.aiter_raw():
                    if not answered.add(piece):
                        break
            answer = from_json(answered.whole())
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, ValueError) as error:
            raise Unreachable(f"no simulator answers at {self.url} ({type(error).__name__})") from error
        if response.is_success and isinstance(answer, dict):
            return answer
        raise click.ClickException(f"the simulator refuses: {_said(answer)}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()


def _said(answer: Any) -> str:
    if not isinstance(answer, dict):
        return "it says nothing readable"
    errors = answer.get("errors")
    lists = errors.values() if isinstance(errors, dict) else ()
    faults = [fault for found in lists if isinstance(found, list) for fault in found]
    return one_line(" ".join(map(str, faults)) or str(answer.get("message")))
