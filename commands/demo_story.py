"""The story of the demo: starts its parts in order, and acts on them.

Charge points live at a simulated tenant; the receiver registers itself and takes what they send; handlers work on it
and call back. In the middle the receiver is stopped for some seconds, and what it missed is asked for again.
It knows nothing of how the story is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx2
from redis.exceptions import RedisError

from ampeco.signature import SIGNATURE_HEADER, SigningKey, sign
from ampeco.simulator.fleet.announcements import encode
from ampeco.simulator.fleet.samples import sample
from commands.child_output import facts_of, lines_to
from commands.demo_counts import Tally, count, shortfalls
from commands.demo_stack import START_S, DemoStack, Stuck, demo_stack
from commands.demo_view import View
from commands.sample_bodies import charge_point_of
from eventlog.inspection.events import read_counts
from receiver.errors import Unreachable
from workers.process.supervisor import running

HANDLERS = ("demo.journal", "demo.reset-faulted", "resend-failed")

_LOAD = ("handlers.builtin.demo_journal", "handlers.builtin.demo_reset_faulted")
# The tenant gives a delivery up after 1.5 s and the receiver is away for longer, so some need a resend.
_SIMULATOR = ("--retry-pause", "0.5", "--retry-pause", "1", "--resend-every", "5")
_SHUT_S = 4.5
_SHUT_AFTER = 0.4  # of the whole time

_SHOW_EVERY_S = 1.0
_LOOK_EVERY_S = 0.2
_NO_NEWS_S = 30.0


@dataclass(frozen=True)
class Plan:
    """How long, how many, and how many notifications a second."""

    seconds: float
    charge_points: int
    rate: float


class Story:
    """One run of the demo, with store and logs in a folder."""

    def __init__(self, plan: Plan, folder: Path, view: View) -> None:
        self._plan = plan
        self._folder = folder
        self._view = view
        self._forged: Counter[str] = Counter()
        self._play: DemoStack
        self._console: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.console_url = ""

    @contextlib.asynccontextmanager
    async def played(self) -> AsyncIterator[Tally]:
        """Run until everything is handled or nothing changes any more; then keep the parts running during the block.

        Yields:
            The numbers at the end. The charge points are idle from then on.

        Raises:
            Stuck: the story cannot go on.
            Unreachable, RedisError: the simulator or the log went away.
        """
        say = self._view.say
        say("starting a store, a simulator, a worker, a receiver and a console")
        only_ours = {"AWR_HANDLERS_ALLOW": ",".join(HANDLERS)}
        async with (
            demo_stack(self._folder, _SIMULATOR) as self._play,
            self._outputs() as (receiver, worker, console),
            running(self._play.console(output=console)),
        ):
            say(f"a Valkey server keeps the event log, and the simulator is at {self._play.tenant.url}")
            async with (
                self._play.working(_LOAD, output=worker, **only_ours),
                contextlib.AsyncExitStack() as receiver_again,
            ):
                say(f"a worker runs the handlers {', '.join(HANDLERS)}")
                await self._see_console()
                async with self._showing():
                    async with self._play.open_receiver(output=receiver):
                        began_s = time.monotonic()
                        await self._begin()
                        await self._forge_one()
                        await self._repeat_one()
                        await _sleep_until(began_s + _SHUT_AFTER * self._plan.seconds)
                    shut_s = time.monotonic()
                    say("the receiver is stopped: the tenant cannot deliver, retries, and gives up")
                    await _sleep_until(shut_s + _SHUT_S)
                    await receiver_again.enter_async_context(self._play.open_receiver(output=receiver))
                    say(f"the receiver is back after {time.monotonic() - shut_s:.1f} s")
                    await self._see_resend()
                    await _sleep_until(began_s + self._plan.seconds)
                    await self._play.tenant.stop()
                    say("the charge points are idle; the remaining events are being handled")
                    tally = await self._until(lambda tally: not shortfalls(tally, HANDLERS), None)
                    say("nothing is left to do")
                yield tally

    async def _see_console(self) -> None:
        try:
            async with asyncio.timeout(START_S):
                self.console_url = await self._console
        except TimeoutError as error:
            raise Stuck("the console did not open") from error
        self._view.say(f"the console is at {self.console_url}")

    async def _begin(self) -> None:
        plan = self._plan
        subscriptions = (await self._play.tenant.state())["subscriptions"]
        if not subscriptions:
            raise Stuck("the receiver did not register itself")
        self._view.say(f"the receiver is open at {subscriptions[0]['webhook']['callbackUrl']}")
        self._view.say(f"and has registered itself for {', '.join(subscriptions[0]['notifications'])}")
        await self._play.tenant.start({"charge_points": plan.charge_points, "rate": plan.rate})
        self._view.say(
            f"{plan.charge_points} charge points are at work, {plan.rate:g} notifications per second"
        )

    async def _forge_one(self) -> None:
        """Send a notification that is signed with a wrong key."""
        body = encode(sample("HardwareStatusNotification", datetime.now(UTC)))
        headers = {
            "Content-Type": "application/json",
            SIGNATURE_HEADER: sign(body, SigningKey.of("a-wrong-key")),
        }
        try:
            async with httpx2.AsyncClient(trust_env=False) as client:
                answer = await client.post(self._play.callback_url, content=body, headers=headers)
        except httpx2.HTTPError as error:
            raise Stuck(f"the receiver does not answer ({type(error).__name__})") from error
        self._forged[str(answer.status_code)] += 1
        if answer.is_success:
            raise Stuck("a notification signed with a wrong key was accepted")
        self._view.say(f"a forged notification, signed with a wrong key, is refused: {answer.status_code}")

    async def _repeat_one(self) -> None:
        """Send one notification twice, as AMPECO may do."""
        start = "session.start.stop.notification"
        letter = sample(start, datetime.now(UTC))
        for _ in range(2):
            await self._play.tenant.send(start, letter, charge_point_of(letter))
        await self._until(lambda tally: tally.duplicates > 0, "a repeated notification was not recognized")
        self._view.say("the tenant sends a notification twice: the receiver recognizes the duplicate")

    async def _see_resend(self) -> None:
        resend = "notifications.resend-failed"
        tally = await self._until(
            lambda tally: resend in tally.actions, "resend-failed did not ask for what was missed"
        )
        self._view.say(
            f"resend-failed asked for what the tenant had given up: {tally.resent:,} were sent again"
        )

    async def _until(self, holds: Callable[[Tally], bool], otherwise: str | None) -> Tally:
        """Wait until a condition holds. Without news for a while, raise Stuck or end."""
        last, news_s = None, time.monotonic()
        while not holds(tally := await self._look()):
            if tally != last:
                last, news_s = tally, time.monotonic()
            elif time.monotonic() > news_s + _NO_NEWS_S:
                if otherwise is not None:
                    raise Stuck(otherwise)
                break
            await asyncio.sleep(_LOOK_EVERY_S)
        return tally

    async def _look(self) -> Tally:
        state = await self._play.tenant.state()
        counts = await read_counts(self._play.log)
        positions = await self._play.log.handlers(measure=False)
        return count(state, counts, positions, forged=self._forged)

    @contextlib.asynccontextmanager
    async def _showing(self) -> AsyncIterator[None]:
        """Show the numbers once a second during the block."""

        async def show() -> None:
            while True:
                await asyncio.sleep(_SHOW_EVERY_S)
                with contextlib.suppress(Unreachable, RedisError):  # the story finds out, and says so
                    self._view.show(await self._look())

        showing = asyncio.create_task(show())
        try:
            yield
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def _outputs(self) -> AsyncIterator[tuple[int, int, int]]:
        """Open the file that receiver, worker and console write to, and show what handlers do."""

        def tell(line: str) -> None:
            if (facts := facts_of(line)) is not None:
                self._view.tell(facts)

        def find_address(line: str) -> None:
            if line.startswith("http://") and not self._console.done():
                self._console.set_result(line)

        async with (
            lines_to(self._folder / "worker.log", tell) as worker,
            lines_to(self._folder / "console.log", find_address) as console,
        ):
            with (self._folder / "receiver.log").open("ab") as receiver:
                yield receiver.fileno(), worker, console


async def _sleep_until(moment_s: float) -> None:
    await asyncio.sleep(max(0.0, moment_s - time.monotonic()))
