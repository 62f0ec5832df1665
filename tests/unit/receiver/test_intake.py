"""Intake: what a verified body is called in the log, and that none is ever lost."""

import asyncio
import gc
import json
from collections.abc import Mapping, Sequence
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampeco.notifications import DEFAULT_RULES, EntityKeyRules
from ampeco.signature import SCHEMES, SigningKey, sign
from eventlog.log import Answer, AppendReply, Element, NewEvent, Unreadable
from handlers.internal import PAYLOADS
from receiver.group_commit import GroupCommit
from receiver.intake import Intake
from receiver.verification import RawDelivery, VerifiedDelivery, Verifier

KEY = SigningKey.of("token")
VERIFIER = Verifier([KEY])
ACCEPTED = Answer("accepted", "0-1-0")


class Log:
    """Remembers what was appended, and gives the answer it was made with."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.elements: list[Element] = []

    async def append(self, elements: Sequence[Element]) -> AppendReply:
        self.elements += elements
        return AppendReply([self.answer] * len(elements), [])

    def appended(self, answers: Sequence[Answer], wake: Sequence[str], seconds: float) -> None:
        pass

    def append_refused(self, error: str) -> None:
        pass


def intake(
    answer: Answer = ACCEPTED, *, is_open: bool = True, rules: EntityKeyRules = DEFAULT_RULES
) -> tuple[Intake, Log]:
    log = Log(answer)
    return Intake(GroupCommit(log.append, log), rules=rules, is_open=lambda: is_open), log


def verified(body: bytes) -> VerifiedDelivery:
    return VERIFIER.verify(RawDelivery(body, sign(body, KEY).encode(), 1_700_000_000_000))


def read(document: object) -> Element:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return intake()[0].read(verified(body))


def test_a_request_signed_long_ago_is_an_event_marked_stale() -> None:
    headers = {b"x-timestamp": b"2023-11-14T22:00:00Z"}  # 13 minutes before it arrives
    body = b'{"notification": "x"}'
    signature = sign(SCHEMES["timestamp.body"](body, headers), KEY).encode()
    delivery = RawDelivery(body, signature, 1_700_000_000_000, tuple(headers.items()))
    event = intake()[0].read(Verifier([KEY], "timestamp.body").verify(delivery))
    assert isinstance(event, NewEvent)
    assert event.mark == "stale,at=0"


def test_an_event_carries_type_key_and_which_key_signed() -> None:
    event = read({"notification": "SessionUpdateNotification", "session": {"id": 7}})
    assert isinstance(event, NewEvent)
    assert (event.type, event.key, event.key_id) == ("SessionUpdateNotification", "session:7", KEY.key_id)
    assert event.received_at_ms == 1_700_000_000_000


def test_an_equal_body_is_a_duplicate_only_with_a_time_of_its_own() -> None:
    timed = {"notification": "x.changed", "lastUpdatedAt": "2023-11-14T22:13:00Z"}
    assert isinstance(event := read(timed), NewEvent)
    assert event.duplicates == "drop"
    assert event.mark == "at=1699999980000000"
    assert isinstance(event := read({"notification": "x.changed"}), NewEvent)
    assert event.duplicates == "mark"


def test_a_known_type_that_does_not_fit_is_an_event_like_any_other() -> None:
    event = read({"notification": "SessionUpdateNotification", "session": 3})
    assert isinstance(event, NewEvent)
    assert event.mark == "at=0"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[]", "not-an-object"),
        (b"nonsense", "not-json"),
        (b"", "not-json"),
        (b'{"a": "\\ud800"}', "lone-surrogate"),
        *((b'{"notification": "%s"}' % name.encode(), "reserved-type") for name in PAYLOADS),
        (b'{"data": {"notification": "receiver.gap.closed"}}', "reserved-type"),
        (b'{"notification": "%s"}' % (b"x" * 201), "type-too-long"),
        (b'{"notification": "%s"}' % ("\u6f22" * 67).encode(), "type-too-long"),
    ],
)
def test_what_cannot_be_read_is_quarantined_with_its_reason(body: bytes, reason: str) -> None:
    element = read(body)
    assert isinstance(element, Unreadable)
    assert (element.body, element.reason) == (body, reason)


@pytest.mark.parametrize("name", ["x" * 200, "\u6f22" * 66, "a\tb\n|,", "*"])
def test_a_type_may_be_any_short_text(name: str) -> None:
    element = read({"notification": name})
    assert isinstance(element, NewEvent)
    assert element.type == name


def test_the_dearest_body_of_the_largest_size_costs_less_than_a_second() -> None:
    """Arrays in arrays; `python -m benchmarks.worst_bodies` has the others, and the figures."""
    deep = b"[" * 190 + b"]" * 190
    body = b'{"notification":"x","a":[' + b",".join([deep] * ((1 << 20) // len(deep))) + b',"\\ud800"]}'

    async def check() -> None:
        taking, log = intake(Answer("quarantined", "1-0"))
        before, answers = process_time(), list[Answer]()
        taking.accept(verified(body), answers.append)
        while not answers:
            await asyncio.sleep(0)
        assert process_time() - before < 1.0
        assert isinstance(log.elements[0], Unreadable)

    asyncio.run(check())
    assert gc.isenabled()


def test_more_large_bodies_than_can_wait_are_refused() -> None:
    body = b'{"notification":"x","a":"%b"}' % (b"a" * (1 << 20))

    async def check() -> None:
        taking, _ = intake()
        answers: list[Answer] = []
        for _ in range(20):  # the first is read at once, and 15 can wait
            taking.accept(verified(body), answers.append)
        assert [answer.reason for answer in answers] == ["too-much-at-once"] * 4
        taking.accept(verified(b"{}"), answers.append)
        while len(answers) < 21:
            await asyncio.sleep(0.01)
        assert {answer.outcome for answer in answers[4:]} == {"accepted"}

    asyncio.run(check())


class BrokenRules(EntityKeyRules):
    """Rules with a fault of ours in them."""

    def key(self, notification_type: str, data: Mapping[str, Any]) -> str | None:
        raise RecursionError


def test_even_a_fault_of_ours_costs_nothing() -> None:
    element = intake(rules=BrokenRules())[0].read(verified(b"{}"))
    assert isinstance(element, Unreadable)
    assert element.reason == "parser-failed"


@given(st.binary(max_size=200))
def test_any_bytes_become_an_element(body: bytes) -> None:
    assert read(body).body == body


def test_each_event_is_told_from_all_others() -> None:
    undated = {"notification": "HardwareStatusNotification", "chargePointId": 1}
    one, other = read(undated), read(undated)
    assert isinstance(one, NewEvent)
    assert isinstance(other, NewEvent)
    assert (len(one.nonce), one.duplicates, one.nonce == other.nonce) == (12, "mark", False)
    dated = read({**undated, "timestamp": "2023-11-14T22:13:00Z"})
    assert isinstance(dated, NewEvent)
    assert (len(dated.nonce), dated.duplicates) == (12, "drop")
    assert dated.nonce not in (one.nonce, other.nonce)


def answer_to(taker: Intake, body: bytes) -> Answer:
    async def ask() -> Answer:
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        taker.accept(verified(body), answered.set_result)
        return await answered

    return asyncio.run(ask())


@pytest.mark.parametrize("answer", [ACCEPTED, Answer("duplicate"), Answer("refused", reason="log-full")])
def test_what_the_log_says_is_what_is_told(answer: Answer) -> None:
    taker, log = intake(answer)
    assert answer_to(taker, b"{}") == answer
    assert [one.body for one in log.elements] == [b"{}"]


def test_nothing_is_appended_before_the_log_is_known_to_be_ours() -> None:
    taker, log = intake(is_open=False)
    assert answer_to(taker, b"{}") == Answer("refused", reason="log-unavailable")
    assert log.elements == []
