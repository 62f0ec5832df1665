"""Rights come from tokens alone: no other cookie, form or trial gives one."""

from __future__ import annotations

import base64
import json

import pytest

from console.sessions import LASTS_S, Sessions, Throttle

ACT, BODIES = "a-token-for-acting", "a-token-for-bodies"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


def both() -> Sessions:
    return Sessions(lambda: {"act": ACT, "bodies": BODIES})


def test_each_token_gives_its_right_and_a_second_one_adds_the_other() -> None:
    sessions = both()
    acting = sessions.begin(ACT, " Nora ")
    assert acting is not None
    assert (acting.name, acting.rights) == ("Nora", {"act"})
    every = sessions.begin(BODIES, "Nora", acting)
    assert every is not None
    read = sessions.read(sessions.cookie(every))
    assert read is not None
    assert (read.name, read.rights) == ("Nora", {"act", "bodies"})


def test_a_second_log_in_does_not_prolong_the_first_right() -> None:
    clock = Clock()
    sessions = Sessions(lambda: {"act": ACT, "bodies": BODIES}, clock)
    acting = sessions.begin(ACT, "Nora")
    assert acting is not None
    clock.now_s += LASTS_S - 60
    both_rights = sessions.begin(BODIES, "Nora", acting)
    assert both_rights is not None
    assert both_rights.ends_s == acting.ends_s
    again = sessions.begin(ACT, "Nora", acting)
    assert again is not None
    assert again.ends_s == acting.ends_s + LASTS_S - 60


@pytest.mark.parametrize("token", ["", "a-token-for-actin", ACT + " ", "é" * 20, "\ud800", "x" * 100_000])
def test_another_token_gives_nothing(token: str) -> None:
    assert both().begin(token, "Nora") is None


def test_without_tokens_nothing_can_be_had() -> None:
    sessions = Sessions(dict)
    assert sessions.possible == frozenset()
    assert sessions.begin("", "Nora") is None
    assert sessions.read("") is None


@pytest.mark.parametrize("letter", ["é", "\N{GRINNING FACE}", "\x01", "\ud800"])
def test_a_long_name_of_any_letters_can_log_in(letter: str) -> None:
    sessions = both()
    session = sessions.begin(BODIES, letter * 100, sessions.begin(ACT, "Nora"))
    assert session is not None
    assert sessions.read(sessions.cookie(session)) == session


def test_no_token_is_in_the_cookie() -> None:
    cookie = both().cookie(both().begin(ACT, "Nora"))  # type: ignore[arg-type]
    assert ACT not in cookie
    assert ACT.encode() not in base64.urlsafe_b64decode(cookie.split(".")[0] + "==")


def test_a_cookie_that_was_changed_gives_nothing() -> None:
    sessions = both()
    payload, signed = sessions.cookie(sessions.begin(ACT, "Nora")).split(".")  # type: ignore[arg-type]
    longer = base64.urlsafe_b64encode(json.dumps(["Nora", 9_999_999_999, "x"]).encode()).decode().rstrip("=")
    for forged in (
        payload,
        f"{longer}.{signed}",
        f"{payload}.{signed.replace('act', 'bodies')}",
        f"{payload}.{signed[:-1]}",
        f"{payload}.act=",
        "x" * 5_000,
        "ü.act=x",
        "..",
    ):
        assert sessions.read(forged) is None, forged


def test_the_holder_of_one_token_cannot_sign_the_other_right() -> None:
    """A person who knows the token for bodies can make any cookie that its key signs."""
    forger = Sessions(lambda: {"act": BODIES, "bodies": BODIES})
    session = both().read(forger.cookie(forger.begin(BODIES, "Eve")))  # type: ignore[arg-type]
    assert session is not None
    assert session.rights == {"bodies"}


def test_a_session_ends_with_its_time_and_with_its_token() -> None:
    clock, tokens = Clock(), {"act": ACT}
    sessions = Sessions(lambda: tokens, clock)  # type: ignore[arg-type, return-value]
    cookie = sessions.cookie(sessions.begin(ACT, "Nora"))  # type: ignore[arg-type]
    clock.now_s += LASTS_S - 1
    assert sessions.read(cookie) is not None
    tokens["act"] = "another-token-now"
    assert sessions.read(cookie) is None
    tokens["act"] = ACT
    clock.now_s += 1
    assert sessions.read(cookie) is None


def test_a_form_token_is_of_one_session() -> None:
    sessions = both()
    one, other = sessions.begin(ACT, "Nora"), sessions.begin(ACT, "Nora")
    assert one is not None
    assert other is not None
    assert sessions.is_form_token(one, sessions.form_token(one))
    assert not sessions.is_form_token(one, sessions.form_token(other))
    assert not sessions.is_form_token(one, "")
    assert not sessions.is_form_token(one, "\ud800")


def test_wrong_tokens_are_bounded_for_an_address_and_for_all() -> None:
    clock = Clock()
    throttle = Throttle(each=2, all_=3, now_s=clock)
    for _ in range(2):
        assert throttle.is_open("a")
        throttle.failed("a")
    assert not throttle.is_open("a")
    assert throttle.is_open("b")
    throttle.failed("b")
    assert not throttle.is_open("c")
    clock.now_s += 61
    assert throttle.is_open("a")
