"""A tenant in a box for tests: a running simulator on a free port, in a thread of its own.

It needs no pytest; `ampeco.simulator.pytest_plugin` makes a fixture of it.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2
from pydantic.alias_generators import to_camel

from ampeco.client import AsyncClient, Client
from ampeco.simulator.server import serve
from ampeco.simulator.switches import Habits
from ampeco.simulator.tenant import Tenant

TOKEN = "boxed-token"  # noqa: S105 - of a pretend tenant
_START_TIMEOUT_S = 30.0


class Box:
    """A running simulator.

    Attributes:
        url: tenant URL.
        token: an API token that may do everything.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self._http = httpx2.Client(base_url=url, trust_env=False, timeout=10.0)

    def state(self) -> dict[str, Any]:
        """Return the counts."""
        return self._ask("GET", "state")

    def start(self, scenario: str | None = None, **plan: Any) -> None:
        """Let charge points live: a scenario by name, members of a plan, or both."""
        self._ask("POST", "start", plan if scenario is None else {"scenario": scenario, **plan})

    def stop(self) -> None:
        """Make no new notifications; deliveries continue."""
        self._ask("POST", "stop")

    def send(
        self, notification: str, body: Mapping[str, Any] | str | None = None, charge_point: int | None = None
    ) -> int:
        """Send one notification (None: the sample of its type); to how many notification subscriptions."""
        wish = {"notification": notification, "body": body, "charge_point": charge_point}
        return int(self._ask("POST", "send", wish)["made"])

    def sample(self, notification: str, charge_point: int | None = None) -> dict[str, Any]:
        """Return a notification about objects that the API knows."""
        params = {"notification": notification, "charge_point": charge_point or 0}
        return self._ask("GET", "sample", params=params)

    def seed(self, resource: str, id: str | int, **fields: Any) -> dict[str, Any]:
        """Let an object of the API exist, or change some of its fields.

        Args:
            resource: as in the API: `users`, `sessions`, `evses`; below others `users/7/notes`.
            fields: by their names on the wire, or in snake_case: `balance=12.5`, `hardware_status="faulted"`.
        """
        given = {to_camel(name): value for name, value in fields.items()}
        return self._ask("PUT", f"objects/{resource.strip('/')}/{id}", given)

    def client(self) -> AsyncClient:
        """Return a client for async code."""
        return AsyncClient(self.url, self.token)

    def sync_client(self) -> Client:
        """Return a client for code that is not async."""
        return Client(self.url, self.token)

    def change_habits(self, **habits: Any) -> None:
        """Change habits."""
        self._ask("PATCH", "habits", habits)

    def order_fault(self, what: str, **fault: Any) -> None:
        """Schedule a fault: from_s and to_s from now, habits, share, token."""
        self._ask("POST", "faults", {"what": what, **fault})

    def add_token(self, token: str, *, read_only: bool = False) -> None:
        """Add a token."""
        self._ask("POST", "tokens", {"token": token, "read_only": read_only})

    def remove_token(self, key_id: str) -> None:
        """Remove the token with this key id."""
        self._ask("DELETE", f"tokens/{key_id}")

    def actions(self) -> list[dict[str, Any]]:
        """The actions that were called and accepted, oldest first."""
        return list(self._ask("GET", "actions")["actions"])

    def calls(self, **chosen: Any) -> list[dict[str, Any]]:
        """The last calls of the API, at most 1,000; by operation, method, status."""
        return list(self._ask("GET", "calls", params={"limit": 1000, **chosen})["calls"])

    def deliveries(self, **chosen: Any) -> list[dict[str, Any]]:
        """What was sent, bodies included, at most 1,000; by type, state, subscription, charge_point."""
        found = self._ask("GET", "deliveries", params={"limit": 1000, "body": 1, **chosen})
        return list(found["deliveries"])

    def reset_counters(self) -> None:
        """Forget settled deliveries."""
        self._ask("POST", "reset-counters")

    def wait(self, holds: Callable[[dict[str, Any]], bool], timeout_s: float = 10.0) -> dict[str, Any]:
        """Wait until the state fits.

        Raises:
            TimeoutError: it never was.
        """
        deadline_s = time.monotonic() + timeout_s
        while not holds(state := self.state()):
            if time.monotonic() > deadline_s:
                raise TimeoutError("the simulator did not get there")
            time.sleep(0.01)
        return state

    def close(self) -> None:
        """Close the connection to the simulator; it serves on."""
        self._http.close()

    def _ask(
        self,
        method: str,
        what: str,
        body: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        answer = self._http.request(method, f"/simulator/{what}", json=_json(method, body), params=params)
        if not answer.is_success:
            raise ValueError(f"the simulator refuses {what}: {answer.text}")
        found: dict[str, Any] = answer.json()
        return found


def _json(method: str, body: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return {} if body is None and method in ("POST", "PATCH", "PUT") else body


@contextmanager
def tenant_in_a_box(*, token: str = TOKEN, habits: Habits | None = None) -> Iterator[Box]:
    """A simulator that serves as long as the block lasts.

    Raises:
        RuntimeError: it did not start.
    """
    urls: list[str] = []
    ready = threading.Event()
    ending: list[Callable[[], object]] = []

    async def run() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        ending.append(lambda: loop.call_soon_threadsafe(stop.set))

        def on_ready(url: str) -> None:
            urls.append(url)
            ready.set()

        await serve(Tenant([token], habits=habits), port=0, on_ready=on_ready, stop=stop)

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="tenant-in-a-box", daemon=True)
    thread.start()
    if not ready.wait(_START_TIMEOUT_S):
        raise RuntimeError("the simulator did not start")
    box = Box(urls[0], token)
    try:
        yield box
    finally:
        box.close()
        ending[0]()
        thread.join()
