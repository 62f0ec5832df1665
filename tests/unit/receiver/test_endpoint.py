"""The webhook as HTTP: which gate refuses what, in which order, with which status, and how much it reads."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from starlette.types import Message, Scope

from ampeco.signature import SigningKey, sign
from eventlog.log import Answer, AppendReply, Element
from receiver.endpoint import WebhookEndpoint
from receiver.endpoint_log import EndpointLog
from receiver.group_commit import GroupCommit
from receiver.intake import Intake
from receiver.metrics import Metrics
from receiver.request_body import Limits
from receiver.verification import Verifier

KEY = SigningKey.of("token")
BODY = b'{"notification": "BootNotification", "chargePointId": 1}'
GOOD = {"x-signature": sign(BODY, KEY), "content-type": "application/json"}
LIMIT = 2000
LIMITS = Limits(
    body_bytes=LIMIT, read_timeout_s=0.1, unfinished_bytes=10_000, linger_s=0.02, linger_bytes=8_000
)
ACCEPTED = Answer("accepted", "0-1-0")


@dataclass
class Door:
    """An endpoint in front of a log that answers everything alike."""

    answer: Answer | Exception = ACCEPTED
    appended_bodies: list[bytes] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)
    status: int = 202

    async def append(self, elements: Sequence[Element]) -> AppendReply:
        if isinstance(self.answer, Exception):
            raise self.answer
        self.appended_bodies += [one.body for one in elements]
        return AppendReply([self.answer] * len(elements), [])

    def call(
        self,
        parts: Sequence[bytes | None] = (BODY,),
        *,
        method: str = "POST",
        headers: dict[str, str] | None = None,
    ) -> "Exchange":
        """Send a body in parts; None hangs up, and after the last part the sender only waits."""
        exchange = Exchange(list(parts))
        self.serve(exchange, method, GOOD if headers is None else headers)
        return exchange

    def serve(self, exchange: "Exchange", method: str, headers: dict[str, str]) -> None:
        door = EndpointLog(self.metrics, lambda queues: None)
        webhook = WebhookEndpoint(
            Verifier([KEY]),
            Intake(GroupCommit(self.append, door)),
            door,
            accept_status=self.status,
            now_ms=lambda: 0,
            limits=LIMITS,
        )
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        scope: Scope = {"type": "http", "method": method, "headers": pairs}
        asyncio.run(webhook(scope, exchange.receive, exchange.send))

    def refused(self, reason: str) -> float:
        return self.metrics.registry.get_sample_value("awr_events_refused_total", {"reason": reason}) or 0.0


@dataclass
class Exchange:
    """One request as the server would hand it over, and what was answered."""

    parts: list[bytes | None]
    sent: list[Any] = field(default_factory=list)
    taken: int = 0

    async def receive(self) -> Message:
        if self.taken == len(self.parts):
            await asyncio.Event().wait()
        part = self.parts[self.taken]
        self.taken += 1
        if part is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": part, "more_body": self.taken < len(self.parts)}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {k.decode(): v.decode() for k, v in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        assert self.sent[-1]["more_body"] is False
        return b"".join(message["body"] for message in self.sent[1:])


def test_a_signed_body_is_accepted_with_the_configured_status_and_nothing_to_read() -> None:
    door = Door(status=204)
    answer = door.call()
    assert (answer.status, answer.body) == (204, b"")
    assert door.appended_bodies == [BODY]


def test_a_body_in_parts_is_one_body() -> None:
    door = Door()
    assert door.call([BODY[:10], BODY[10:30], BODY[30:]]).status == 202
    assert door.appended_bodies == [BODY]


@pytest.mark.parametrize("outcome", ["accepted", "duplicate", "quarantined"])
def test_whatever_is_kept_is_answered_alike(outcome: Any) -> None:
    assert Door(Answer(outcome)).call().status == 202


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_other_methods_are_told_what_is_allowed(method: str) -> None:
    answer = Door().call([b""], method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/problem+json",
        "text/json",
        " application/json ;x=y",
        "",
    ],
)
def test_any_json_type_is_welcome(content_type: str) -> None:
    assert Door().call(headers={**GOOD, "content-type": content_type}).status == 202


def test_no_content_type_is_welcome_since_ampeco_promises_none() -> None:
    assert Door().call(headers={"x-signature": GOOD["x-signature"]}).status == 202


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "json", "application/jsonp"]
)
def test_other_types_are_refused(content_type: str) -> None:
    assert Door().call(headers={**GOOD, "content-type": content_type}).status == 415


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        (None, "signature-missing"),
        ("", "signature-missing"),
        ("nonsense", "signature-malformed"),
        (sign(BODY, KEY)[:-1], "signature-malformed"),
        (sign(BODY, KEY)[:32], "signature-malformed"),
        (sign(BODY, KEY, encoding="base64")[:-4], "signature-malformed"),
        (sign(BODY + b" ", KEY), "signature-mismatch"),
        (sign(BODY, SigningKey.of("another")), "signature-mismatch"),
        ("é" * 64, "signature-malformed"),
    ],
)
def test_a_signature_that_is_not_ours_is_401_and_nothing_is_kept(signature: str | None, reason: str) -> None:
    door = Door()
    answer = door.call(headers={} if signature is None else {"x-signature": signature})
    assert (answer.status, answer.body) == (401, b"")
    assert door.appended_bodies == []
    assert door.refused(reason) == 1


def test_gates_stand_in_order() -> None:
    """Method before type before size before signature: an unknown sender learns only the first check that refuses."""
    headers = {"content-type": "text/plain", "content-length": str(LIMIT + 1)}
    door = Door()
    assert door.call(method="GET", headers=headers).status == 405
    assert door.call(headers=headers).status == 415
    assert door.call(headers={"content-length": str(LIMIT + 1)}).status == 413
    assert door.call([b"x" * (LIMIT + 1)], headers={}).status == 413
    assert door.call([b"x" * LIMIT], headers={}).status == 401


def test_a_body_announced_too_large_is_refused_unread() -> None:
    answer = Door().call([], headers={**GOOD, "content-length": str(LIMIT + 1)})
    assert (answer.status, answer.headers["connection"]) == (413, "close")


def test_a_body_that_grows_too_large_is_refused_at_that_moment_and_the_rest_is_not_kept() -> None:
    parts = [b"x" * 500] * 10_000
    door = Door()
    answer = door.call(parts)
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert answer.taken <= 5 + LIMITS.linger_bytes // 500 + 1
    assert door.appended_bodies == []


@pytest.mark.parametrize("parts", [[None], [BODY[:5], None]])
def test_a_sender_that_hangs_up_is_not_answered_and_nothing_is_kept(parts: list[bytes | None]) -> None:
    door = Door()
    assert door.call(parts).sent == []
    assert door.appended_bodies == []


class Stalled(Exchange):
    """A sender that begins a body and never goes on."""

    async def receive(self) -> Message:
        if self.taken:
            await asyncio.Event().wait()
        self.taken += 1
        return {"type": "http.request", "body": b"{", "more_body": True}


def test_a_sender_that_is_too_slow_is_let_go() -> None:
    exchange = Stalled([])
    Door().serve(exchange, "POST", GOOD)
    assert (exchange.status, exchange.headers["connection"]) == (408, "close")


def test_bodies_still_arriving_are_bounded_together() -> None:
    async def many() -> list[int]:
        door = EndpointLog(Metrics(), lambda queues: None)
        webhook = WebhookEndpoint(
            Verifier([KEY]),
            Intake(GroupCommit(Door().append, door)),
            door,
            accept_status=202,
            now_ms=lambda: 0,
            limits=replace(LIMITS, unfinished_bytes=3),
        )
        exchanges = [Stalled([]) for _ in range(5)]
        scope: Scope = {"type": "http", "method": "POST", "headers": []}
        await asyncio.gather(*(webhook(scope, one.receive, one.send) for one in exchanges))
        return [one.status for one in exchanges]

    assert asyncio.run(many()) == [408, 408, 408, 503, 503]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer("refused", reason="log-full"), "log-full"),
        (ConnectionRefusedError(), "log-unavailable"),
        (TimeoutError(), "log-unavailable"),
        (ZeroDivisionError(), "log-unavailable"),
    ],
)
def test_whatever_is_not_in_the_log_is_503_and_asked_for_again(answer: Any, reason: str) -> None:
    door = Door(answer)
    reply = door.call()
    assert (reply.status, reply.headers["retry-after"], reply.body) == (503, "5", b"")
    assert door.refused(reason) == 1
