"""A few rounds of each fuzzer, and that each of them finds a fault when there is one; `make fuzz` runs longer."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from receiver import elements
from receiver.fast_path import FastPathProtocol, _WholeRequest
from tests.fuzz.__main__ import rounds_left
from tests.fuzz.http_ways import HttpFuzzer
from tests.fuzz.odd_bodies import odd_body
from tests.fuzz.payloads import BATCH, PayloadFuzzer
from tests.fuzz.sockets import SocketFuzzer
from tests.fuzz.streams import stream

SEED = 20261129


def test_both_http_protocols_do_the_same() -> None:
    figures = HttpFuzzer(SEED).run(rounds_left(80))
    assert figures.findings == [], "\n".join(figures.lines())
    assert figures.outcomes["202"] > 50


def test_a_fast_path_that_differs_or_holds_a_body_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    complete = _WholeRequest.on_message_complete

    def too_often(request: Any) -> None:
        complete(request)
        request._begun = 1  # it answers the last of several requests, as if it were the only one

    monkeypatch.setattr(_WholeRequest, "on_message_complete", too_often)
    taken = FastPathProtocol._took

    def holding(protocol: Any, data: bytes) -> bool:
        took = taken(protocol, data)
        protocol._request.body = b"body"
        return took

    monkeypatch.setattr(FastPathProtocol, "_took", holding)
    said = " ".join(finding.what for finding in HttpFuzzer(SEED).run(rounds_left(25)).findings)
    assert "wrote" in said
    assert "an idle connection holds 4 bytes of a body" in said


def test_a_real_receiver_lives_through_it() -> None:
    figures = SocketFuzzer(SEED).run(rounds_left(21))
    assert figures.findings == [], "\n".join(figures.lines())


def test_every_odd_body_is_accepted_and_can_be_read_back() -> None:
    figures = PayloadFuzzer(SEED).run(rounds_left(3))
    assert figures.findings == [], "\n".join(figures.lines())
    assert figures.outcomes["202"] == figures.requests == 3 * BATCH
    assert min(figures.outcomes[kind] for kind in ("read as typed", "read as typed, with misfits")) > 10
    assert figures.outcomes["quarantined"] > 10


def test_a_parser_that_fails_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise TypeError

    monkeypatch.setattr(elements, "recognize", broken)
    figures = PayloadFuzzer(SEED).run(rounds_left(1))
    assert len(figures.findings) == BATCH


def test_a_seed_repeats_what_is_sent() -> None:
    assert [stream(Random(f"1 {n}")) for n in range(50)] == [stream(Random(f"1 {n}")) for n in range(50)]
    assert [odd_body(1, n) for n in range(50)] == [odd_body(1, n) for n in range(50)]
    assert odd_body(1, 0) != odd_body(2, 0)
