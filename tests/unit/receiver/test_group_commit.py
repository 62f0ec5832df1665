"""Group commit: one call in flight, waiting elements go with the next one, and every element gets an answer."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
import redis.exceptions

from eventlog.log import MAX_BATCH, Answer, AppendReply, Element, Unreadable
from receiver import group_commit
from receiver.group_commit import MAX_BATCH_BYTES, WORTH_A_CALL, GroupCommit


def element(body: bytes = b"x") -> Unreadable:
    return Unreadable(body, "not-json", 0, "")


class Log:
    """A log whose appends wait at a gate and then call `act`."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.act: Callable[[Sequence[Element]], AppendReply] = self.accept
        self.seen: list[tuple[int, list[str]]] = []
        self.errors: list[str] = []

    @staticmethod
    def accept(elements: Sequence[Element]) -> AppendReply:
        return AppendReply([Answer("accepted", one.body.decode()) for one in elements], ["q"])

    async def append(self, elements: Sequence[Element]) -> AppendReply:
        self.batches.append([one.body for one in elements])
        await self.gate.wait()
        return self.act(elements)

    def appended(self, answers: Sequence[Answer], wake: Sequence[str], seconds: float) -> None:
        self.seen.append((len(answers), list(wake)))

    def append_refused(self, error: str) -> None:
        self.errors.append(error)


def run(scenario: Callable[[Log, GroupCommit], Coroutine[Any, Any, None]], **options: int) -> None:
    async def main() -> None:
        log = Log()
        commit = GroupCommit(log.append, log, **options)
        async with asyncio.timeout(60):
            await scenario(log, commit)
        assert commit.waiting_bytes == 0

    asyncio.run(main())


async def append(commit: GroupCommit, one: Element) -> Answer:
    """Append, and wait for the answer; the waiting task may be cancelled before it."""
    answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    commit.append(one, lambda answer: None if answered.done() else answered.set_result(answer))
    return await answered


def together(commit: GroupCommit, bodies: Sequence[bytes]) -> list[asyncio.Task[Answer]]:
    return [asyncio.create_task(append(commit, element(body))) for body in bodies]


async def outcomes(tasks: list[asyncio.Task[Answer]]) -> list[str]:
    return [answer.reason or answer.outcome for answer in await asyncio.gather(*tasks)]


def test_one_alone_is_written_at_once() -> None:
    async def scenario(log: Log, commit: GroupCommit) -> None:
        assert (await append(commit, element(b"a"))).event_id == "a"
        assert log.seen == [(1, ["q"])]

    run(scenario)


def test_those_who_wait_go_together_and_each_gets_its_own_answer() -> None:
    async def scenario(log: Log, commit: GroupCommit) -> None:
        log.gate.clear()
        first = together(commit, [b"first"])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        rest = together(commit, [b"%d" % i for i in range(20)])
        await asyncio.sleep(0)
        log.gate.set()
        answers = await asyncio.gather(*first, *rest)
        assert [answer.event_id for answer in answers] == ["first", *map(str, range(20))]
        assert [len(batch) for batch in log.batches] == [1, 20]

    run(scenario)


def test_a_second_call_follows_the_first_where_many_wait_and_a_third_does_not() -> None:
    async def scenario(log: Log, commit: GroupCommit) -> None:
        log.gate.clear()
        tasks = together(commit, [b"first"])
        while not log.batches:
            await asyncio.sleep(0)
        for number in range(3):
            tasks += together(commit, [b"%d-%d" % (number, i) for i in range(WORTH_A_CALL)])
            for _ in range(5):
                await asyncio.sleep(0)
        assert [len(batch) for batch in log.batches] == [1, WORTH_A_CALL]
        log.gate.set()
        answers = await asyncio.gather(*tasks)
        assert [len(batch) for batch in log.batches] == [1, WORTH_A_CALL, 2 * WORTH_A_CALL]
        assert [body for batch in log.batches for body in batch] == [
            (answer.event_id or "").encode() for answer in answers
        ]

    run(scenario)


def test_few_wait_for_the_call_in_flight() -> None:
    async def scenario(log: Log, commit: GroupCommit) -> None:
        log.gate.clear()
        tasks = together(commit, [b"first"])
        while not log.batches:
            await asyncio.sleep(0)
        tasks += together(commit, [b"x"] * (WORTH_A_CALL - 1))
        for _ in range(5):
            await asyncio.sleep(0)
        log.gate.set()
        await asyncio.gather(*tasks)
        assert [len(batch) for batch in log.batches] == [1, WORTH_A_CALL - 1]

    run(scenario)


def test_a_batch_ends_at_its_count_and_at_its_bytes() -> None:
    async def scenario(log: Log, commit: GroupCommit) -> None:
        await asyncio.gather(*together(commit, [b"x"] * (MAX_BATCH + 1)))
        assert [len(batch) for batch in log.batches] == [MAX_BATCH, 1]
        log.batches.clear()
        half = b"x" * (MAX_BATCH_BYTES // 2)
        await asyncio.gather(*together(commit, [half, half, b"x"]))
        assert [len(batch) for batch in log.batches] == [2, 1]

    run(scenario)


def test_a_body_larger_than_a_batch_goes_alone() -> None:
    async def scenario(log: Log, commit: GroupCommit) -> None:
        large = b"x" * (MAX_BATCH_BYTES + 1)
        await asyncio.gather(*together(commit, [b"a", large, b"b"]))
        assert [len(batch) for batch in log.batches] == [1, 1, 1]

    run(scenario)


def test_waiting_bytes_are_bounded() -> None:
    async def scenario(log: Log, commit: GroupCommit) -> None:
        log.gate.clear()
        tasks = together(commit, [b"12345", b"12345", b"1"])
        await asyncio.sleep(0)
        log.gate.set()
        assert await outcomes(tasks) == ["accepted", "accepted", "intake-full"]

    run(scenario, max_waiting_bytes=10)


@pytest.mark.parametrize(
    "error",
    [
        redis.exceptions.TimeoutError(),
        redis.exceptions.ConnectionError(),
        redis.exceptions.BusyLoadingError(),
        OSError(),
    ],
)
def test_redis_away_refuses_the_batch_and_those_behind_it(error: Exception) -> None:
    async def scenario(log: Log, commit: GroupCommit) -> None:
        def fail(_: Sequence[Element]) -> AppendReply:
            raise error

        log.act = fail
        log.gate.clear()
        tasks = together(commit, [b"a"])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks += together(commit, [b"b", b"c"])
        await asyncio.sleep(0)
        log.gate.set()
        assert await outcomes(tasks) == ["log-unavailable"] * 3
        assert len(log.batches) == 1
        log.act = log.accept
        assert (await append(commit, element())).outcome == "accepted"

    run(scenario)


def test_who_is_refused_may_bring_the_next_element_at_once() -> None:
    """As a connection does whose next request has arrived already."""

    async def scenario(log: Log, commit: GroupCommit) -> None:
        def away(elements: Sequence[Element]) -> AppendReply:
            log.act = log.accept
            raise redis.exceptions.ConnectionError

        log.act = away
        log.gate.clear()
        told: list[str] = []
        last = asyncio.Event()

        def refused(answer: Answer) -> None:
            told.append(answer.outcome)
            commit.append(element(b"next"), accepted)

        def accepted(answer: Answer) -> None:
            told.append(answer.outcome)
            last.set()

        commit.append(element(b"first"), lambda answer: told.append(answer.outcome))
        await asyncio.sleep(0)  # its append is under way
        commit.append(element(b"waits"), refused)
        log.gate.set()
        await last.wait()
        assert told == ["refused", "refused", "accepted"]
        assert log.batches == [[b"first"], [b"next"]]

    run(scenario)


def test_a_script_error_makes_the_batch_go_one_by_one() -> None:
    async def scenario(log: Log, commit: GroupCommit) -> None:
        def fail(elements: Sequence[Element]) -> AppendReply:
            if any(one.body == b"bad" for one in elements):
                raise redis.exceptions.ResponseError("script")
            return log.accept(elements)

        log.act = fail
        assert await outcomes(together(commit, [b"a", b"bad", b"c"])) == [
            "accepted",
            "log-unavailable",
            "accepted",
        ]
        assert log.batches == [[b"a", b"bad", b"c"], [b"a"], [b"bad"], [b"c"]]

    run(scenario)


@pytest.mark.parametrize("error", [redis.exceptions.ReadOnlyError(), redis.exceptions.OutOfMemoryError()])
def test_a_redis_that_takes_no_writes_is_asked_once_for_the_whole_batch(error: Exception) -> None:
    async def scenario(log: Log, commit: GroupCommit) -> None:
        def fail(_: Sequence[Element]) -> AppendReply:
            raise error

        log.act = fail
        assert await outcomes(together(commit, [b"a", b"b", b"c"])) == ["log-unavailable"] * 3
        assert (len(log.batches), log.errors) == (1, [type(error).__name__])

    run(scenario)


def test_redis_going_away_between_singles_ends_the_rest_at_once() -> None:
    async def scenario(log: Log, commit: GroupCommit) -> None:
        def fail(elements: Sequence[Element]) -> AppendReply:
            if len(elements) > 1:
                raise redis.exceptions.ResponseError("script")
            raise redis.exceptions.TimeoutError

        log.act = fail
        assert await outcomes(together(commit, [b"a", b"b", b"c"])) == ["log-unavailable"] * 3
        assert len(log.batches) == 2

    run(scenario)


def test_every_element_is_answered_when_the_pump_is_cancelled_or_breaks() -> None:
    async def scenario(log: Log, commit: GroupCommit) -> None:
        log.gate.clear()
        tasks = together(commit, [b"a", b"b"])
        while not log.batches:
            await asyncio.sleep(0)
        for pump in commit._pumps:
            pump.cancel()
        assert await outcomes(tasks) == ["log-unavailable"] * 2

    run(scenario)


def test_one_who_stopped_waiting_does_not_disturb_the_others() -> None:
    async def scenario(log: Log, commit: GroupCommit) -> None:
        log.gate.clear()
        gone, stays = together(commit, [b"gone", b"stays"])
        while not log.batches:
            await asyncio.sleep(0)
        gone.cancel()
        log.gate.set()
        assert (await stays).event_id == "stays"

    run(scenario)


def test_each_is_told_once_even_if_what_comes_after_the_append_breaks() -> None:
    async def scenario(log: Log, commit: GroupCommit) -> None:
        def broken(answers: Sequence[Answer], wake: Sequence[str], seconds: float) -> None:
            raise RuntimeError

        log.appended = broken  # type: ignore[method-assign]
        told: list[Answer] = []
        commit.append(element(b"a"), told.append)
        with pytest.raises(RuntimeError):
            await asyncio.gather(*commit._pumps)
        assert told == [Answer("accepted", "a")]

    run(scenario)


def test_an_append_that_hangs_is_refused_in_time(monkeypatch: pytest.MonkeyPatch):
    """The client of Redis has a time-out of its own; this one covers all the rest."""
    monkeypatch.setattr(group_commit, "APPEND_TIMEOUT_S", 0.02)

    async def scenario(log: Log, commit: GroupCommit) -> None:
        log.gate.clear()
        answer = await append(commit, element())
        assert (answer.outcome, answer.reason) == ("refused", "log-unavailable")

    run(scenario)
