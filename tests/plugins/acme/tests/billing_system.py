"""A billing system that writes down what it gets."""

from __future__ import annotations

import json
from typing import Any

import httpx2


class BillingSystem:
    """Stands for the HTTP target."""

    def __init__(self) -> None:
        self.bills: list[Any] = []
        self.status = 201
        self.away = False

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url="http://127.0.0.1", transport=httpx2.MockTransport(self._answer))

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        if self.away:
            raise httpx2.ConnectError("away")
        self.bills.append(json.loads(request.content))
        return httpx2.Response(self.status)
