"""The append script against the rule for duplicates in plain Python, over any interleaving."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog.connection.embedded import EmbeddedServer
from eventlog.duplicates import MARK
from eventlog.inspection.events import read_event
from eventlog.log import NewEvent
from eventlog.subscription import SubscriptionStore
from tests.clocked import clocked

HOUR_S = 3600
WHOLE_WINDOW_S = 29 * HOUR_S  # longer than anything is remembered
_prefixes = (f"rule{number}:" for number in itertools.count())


class Verdict(NamedTuple):
    """What becomes of a notification: dropped for a reason, or an event that is marked with one or not."""

    dropped: str | None = None
    repeat: str | None = None


@dataclass
class Rule:
    """An equal body within the window is dropped, marked or accepted as the documents say.

    Attributes:
        seen: bodies that were accepted within the window.
        last: body that was accepted last, by type and entity.
        nonces: when each nonce was accepted last.
        copies: moments of the copies of a body that were accepted or paired, by body and then by key; None while one
            subscription of ours exists.
    """

    seen: set[bytes] = field(default_factory=set)
    last: dict[tuple[str, str], bytes] = field(default_factory=dict)
    nonces: dict[bytes, float] = field(default_factory=dict)
    copies: dict[bytes, dict[str, list[float]]] | None = None

    def forget_all(self) -> None:
        """The window has passed."""
        self.seen.clear()
        self.last.clear()
        if self.copies is not None:
            self.copies.clear()

    def verdicts(self, event: NewEvent, now_s: float) -> set[Verdict]:
        """What may become of it. Between 120 s and 360 s a nonce may be known or not."""
        age_s = now_s - self.nonces.get(event.nonce, float("-inf"))
        appended = {Verdict(dropped="appended-before")}
        if age_s <= 120:
            return appended
        return {self._judged(event, now_s)} | (appended if age_s <= 360 else set())

    def _judged(self, event: NewEvent, now_s: float) -> Verdict:
        if event.duplicates == "again":
            return Verdict(repeat="appended-again")
        if self._is_paired(event, now_s):
            return Verdict(dropped="other-key")
        if event.body not in self.seen:
            return Verdict()
        if event.duplicates == "mark":
            return Verdict(repeat="no-own-time")
        if event.key is None or self.last[event.type, event.key] == event.body:
            return Verdict(dropped="equal-body")
        return Verdict(repeat="not-last")

    def _is_paired(self, event: NewEvent, now_s: float) -> bool:
        """Whether this is the n-th copy by its key, and another key brought its n-th already."""
        if self.copies is None or not event.key_id:
            return False
        by_key = self.copies[event.body]
        number = len(by_key.get(event.key_id, ()))
        return any(
            len(moments) > number and (event.duplicates == "drop" or now_s - moments[number] <= 120)
            for key_id, moments in by_key.items()
            if key_id != event.key_id
        )

    def took(self, event: NewEvent, verdict: Verdict, now_s: float) -> None:
        """Remember what became of it."""
        accepted = verdict.dropped is None
        if self.copies is not None and event.key_id and (accepted or verdict.dropped == "other-key"):
            self.copies[event.body].setdefault(event.key_id, []).append(now_s)
        if accepted:
            self.nonces[event.nonce] = now_s
            self.seen.add(event.body)
            if event.key is not None:
                self.last[event.type, event.key] = event.body


def stories(
    keys: Sequence[str | None], key_ids: Sequence[str], switches: Sequence[str]
) -> st.SearchStrategy[list[Any]]:
    """What is sent, sent again by us, how time passes, and when there are two subscriptions."""
    kinds = st.tuples(
        st.sampled_from(["a.changed", "b.changed"][: len(keys)]),
        st.sampled_from(keys),
        st.sampled_from(["drop", "mark"]),
        st.sampled_from(["available", "faulted"]),
        st.sampled_from(key_ids),
    )
    sent = st.tuples(st.just("send"), st.lists(kinds, min_size=1, max_size=4))
    resent = st.tuples(st.sampled_from(["retry", "again"]), st.integers(1, 8))
    passed = st.tuples(st.just("pass"), st.sampled_from([0.001, 50.0, 70.0, 119.0, 121.0, float(HOUR_S)]))
    switched = st.tuples(st.sampled_from(switches), st.none())
    return st.lists(st.one_of(sent, sent, sent, resent, passed, switched), max_size=20)


async def play(url: str, story: list[Any]) -> None:
    """Check each answer of the script against the rule."""
    async with clocked(url, next(_prefixes)) as found:
        log, rule, store = found.log, Rule(), SubscriptionStore(found.log)
        numbers = itertools.count()
        known: list[NewEvent] = []
        for step, what in story:
            events: list[NewEvent] = []
            match step:
                case "send":
                    for type_, key, mode, body, key_id in what:
                        text = f"{type_} {key} {mode} {body}".encode()
                        nonce = b"nonce%07d" % next(numbers)
                        events.append(NewEvent(type_, key, text, 1, key_id, mode, nonce=nonce))
                    known += events
                case "retry" if known:
                    events = known[-what:][:1]
                case "again" if known:
                    events = [known[-what:][0]._replace(duplicates="again")]
                case "pass":
                    await found.pass_s(what)
                case "two" if rule.copies is None:
                    await store.set_two(int(found.now_s * 1000))
                    rule.copies = defaultdict(dict)
                    await found.pass_s(1)  # so that the next period has another name
                case "one":
                    await store.clear_two()
                    rule.copies = None
                case "forget":
                    await found.pass_s(WHOLE_WINDOW_S)
                    rule.forget_all()
            for event, answer in zip(events, (await log.append(events)).answers, strict=True):
                verdict = Verdict(dropped=answer.reason)
                if answer.event_id is not None:
                    stored = await read_event(log, answer.event_id)
                    assert stored is not None
                    assert (MARK in stored.marks) is (len(stored.marks) == 2)
                    verdict = Verdict(repeat=next((m for m in stored.marks if m != MARK), None))
                assert verdict in rule.verdicts(event, found.now_s)
                rule.took(event, verdict, found.now_s)


@settings(max_examples=100)
@given(stories(["evse:1", "evse:2", None], ["11111111", ""], ["forget"]))
def test_the_script_judges_as_the_rule_says(valkey: EmbeddedServer, story: list[Any]) -> None:
    asyncio.run(play(valkey.url, story))


@settings(max_examples=100)
@given(stories(["evse:1"], ["11111111", "22222222", ""], ["two", "one", "forget"]))
def test_it_does_so_while_two_subscriptions_exist(valkey: EmbeddedServer, story: list[Any]) -> None:
    asyncio.run(play(valkey.url, [("two", None), *story]))


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["evse:1", "evse:2"]), st.sampled_from("abc"), st.sampled_from([0, 2])),
        max_size=30,
    )
)
def test_each_change_of_an_entity_is_an_event(
    valkey: EmbeddedServer, story: list[tuple[str, str, int]]
) -> None:
    """Without immediate repetitions, what was sent about an entity is what was accepted."""

    def changes(bodies: list[bytes]) -> list[bytes]:
        return [body for body, _ in itertools.groupby(bodies)]

    async def main() -> None:
        async with clocked(valkey.url, next(_prefixes)) as found:
            sent, accepted = defaultdict(list), defaultdict(list)
            for number, (key, state, hours) in enumerate(story):
                await found.pass_s(hours * HOUR_S)
                body = f"{key} {state}".encode()
                event = NewEvent(
                    "evse.changed", key, body, 1, "11111111", "drop", nonce=b"nonce%07d" % number
                )
                (answer,) = (await found.log.append([event])).answers
                sent[key].append(body)
                if answer.event_id is not None:
                    accepted[key].append(body)
            for key, bodies in sent.items():
                assert changes(accepted[key]) == changes(bodies)

    asyncio.run(main())
