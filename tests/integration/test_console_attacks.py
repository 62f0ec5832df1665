"""The console as an attacker meets it: raw connections to a real server, without what a browser would add."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import httpx2
import pytest
from structlog.testing import capture_logs

from commands.console_parts import wording
from console.application import alone, application
from console.live import MOST_PAGES
from eventlog.audit import newest
from eventlog.log import EventLog
from eventlog.operation.handlers import pauses
from receiver.connections import Connections
from receiver.http_server import serve_until
from receiver.sockets import listening
from tests.door import door
from tests.harness import eventually
from tests.integration.test_console import ACT, BODIES, filled, on_log

HOSTS = {"ops.example"}
HEAD = "Host: 127.0.0.1\r\nConnection: close\r\n"
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"


class Console:
    """A console that is served on a port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/console"

    async def open(self, request: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send the beginning of a request, or all of it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request.encode("latin-1"))
        await writer.drain()
        return reader, writer

    async def ask(self, request: str) -> tuple[int, str]:
        """Return the status and the whole text of an answer, until the console closes the connection."""
        reader, writer = await self.open(request)
        async with asyncio.timeout(10):
            text = (await reader.read()).decode()
        writer.close()
        return int(text.split(" ", 2)[1]), text


@contextlib.asynccontextmanager
async def served(log: EventLog) -> AsyncIterator[Console]:
    stop = asyncio.Event()
    tokens = {"act": ACT, "bodies": BODIES}
    pages = application(log, wording=wording(), tokens=lambda: tokens, stop=stop, hosts=HOSTS)
    with listening("127.0.0.1", 0, "AWR_ADMIN_PORT") as listener:
        serving = asyncio.create_task(serve_until(alone(pages), listener, stop, Connections("admin")))
        try:
            yield Console(listener.getsockname()[1])
        finally:
            stop.set()
            await serving


@pytest.mark.parametrize("path", ["", "events", "live", "session", "none", "assets/x/console.js"])
def test_a_page_of_another_site_reads_nothing_by_a_name_of_its_own(valkey, prefix, path: str) -> None:
    async def check(log: EventLog) -> None:
        await filled(log, 1)
        async with served(log) as console:
            with capture_logs() as lines:
                for host in ("evil.test", f"evil.test:{console.port}", "evil.test\r\nHost: 127.0.0.1"):
                    for method in ("GET", "POST", "HEAD"):
                        head = f"Host: {host}\r\nContent-Length: 0\r\nConnection: close\r\n{FORM}\r\n"
                        status, text = await console.ask(f"{method} /console/{path} HTTP/1.1\r\n{head}")
                        assert status == 421
                        assert "no-store" in text
                        assert ("AWR_CONSOLE_HOSTS" in text) == (method != "HEAD")
                        assert "acme" not in text
                for n in range(30):
                    await console.ask(f"GET /console/ HTTP/1.0\r\nHost: evil-{n}.test\r\n\r\n")
            refused = [line for line in lines if line["event"] == "console.refused"]
            assert [line["host"] for line in refused[:2]] == ["evil.test", f"evil.test:{console.port}"]
            assert len(refused) == 10

    on_log(valkey, prefix, check)


@pytest.mark.parametrize(
    "header", ["X-Forwarded-Host: localhost", "Forwarded: host=localhost", "X-Original-Host: 127.0.0.1"]
)
def test_a_name_in_another_header_does_not_count(valkey, prefix, header: str) -> None:
    async def check(log: EventLog) -> None:
        async with served(log) as console:
            request = f"GET /console/ HTTP/1.1\r\nHost: evil.test\r\n{header}\r\nConnection: close\r\n\r\n"
            assert (await console.ask(request))[0] == 421

    on_log(valkey, prefix, check)


def test_the_names_of_this_machine_and_given_ones_are_answered(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        async with served(log) as console:
            for host in ("localhost", "[::1]:9", "10.0.0.9", "OPS.example:443"):
                assert (await console.ask(f"GET /console/ HTTP/1.0\r\nHost: {host}\r\n\r\n"))[0] == 200

    on_log(valkey, prefix, check)


def test_a_receiver_knows_the_names_of_its_setting_and_logs_another(valkey, prefix) -> None:
    with door(valkey.url, prefix, {"AWR_CONSOLE_HOSTS": "Ops.example"}) as front:
        for host, status in (("ops.example", 200), (socket.gethostname(), 200), ("evil.test", 421)):
            request = f"GET /console/ HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode()
            assert front.exchange(request, port=front.admin_port).status == status
        line = front.line("console.refused")
        assert (line["host"], line["reason"], line["level"]) == ("evil.test", "unknown-host", "warning")


def test_a_form_that_breaks_off_leaves_nothing_behind(valkey, prefix, caplog) -> None:
    async def check(log: EventLog) -> None:
        async with served(log) as console:
            await console.ask(f"GET /console/help HTTP/1.1\r\n{HEAD}\r\n")
            before = len(asyncio.all_tasks())
            for _ in range(10):
                _, writer = await console.open(
                    f"POST /console/session HTTP/1.1\r\n{HEAD}{FORM}Content-Length: 100\r\n\r\ntoken="
                )
                writer.close()

            async def are_gone() -> bool:
                return len(asyncio.all_tasks()) <= before

            await eventually(are_gone)
        assert [record for record in caplog.records if record.exc_info] == []

    on_log(valkey, prefix, check)


def test_a_form_that_comes_too_slowly_is_refused_in_words(valkey, prefix, monkeypatch) -> None:
    async def check(log: EventLog) -> None:
        monkeypatch.setattr("console.page._FORM_S", 0.2)
        async with served(log) as console:
            status, text = await console.ask(
                f"POST /console/session HTTP/1.1\r\n{HEAD}{FORM}Content-Length: 100\r\n\r\ntoken="
            )
            assert status == 408
            assert "form-too-slow" in text
            assert "Redis" not in text

    on_log(valkey, prefix, check)


@pytest.mark.parametrize(
    "size", ["Content-Length: 900000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n100000\r\n"]
)
def test_a_huge_form_is_refused_before_it_has_arrived(valkey, prefix, size: str) -> None:
    async def check(log: EventLog) -> None:
        async with served(log) as console:
            reader, writer = await console.open(f"POST /console/session HTTP/1.1\r\n{HEAD}{FORM}{size}")
            writer.write(b"x" * 70_000)
            async with asyncio.timeout(10):
                assert b" 413 " in await reader.readline()
            writer.close()

    on_log(valkey, prefix, check)


def test_no_more_pages_follow_than_allowed_however_many_ask_at_once(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        async with served(log) as console, httpx2.AsyncClient(base_url=console.url) as client:
            request = "GET /console/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
            opened = await asyncio.gather(*(console.open(request) for _ in range(2 * MOST_PAGES)))
            async with asyncio.timeout(10):
                heads = [await reader.readline() for reader, _ in opened]
            assert [b" 200 " in head for head in heads].count(True) == MOST_PAGES
            assert [b" 503 " in head for head in heads].count(True) == MOST_PAGES
            assert (await client.get("/")).status_code == 200
            for _, writer in opened:
                writer.close()

            async def has_room() -> bool:
                async with client.stream("GET", "/live") as answer:
                    return answer.status_code == 200

            await eventually(has_room)

    on_log(valkey, prefix, check)


def test_other_methods_end_at_once_and_change_nothing(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await filled(log, 1)
        async with served(log) as console:
            for path in ("", "live", "events", "handlers/acme.mail/pause"):
                for method in ("OPTIONS", "PUT", "DELETE", "TRACE"):
                    assert (await console.ask(f"{method} /console/{path} HTTP/1.1\r\n{HEAD}\r\n"))[0] == 405
            for path in ("", "live", "events"):
                status, text = await console.ask(f"HEAD /console/{path} HTTP/1.1\r\n{HEAD}\r\n")
                assert status == 200
                assert text.endswith("\r\n\r\n")
            assert await pauses(log) == {}

    on_log(valkey, prefix, check)


def test_an_address_in_a_header_does_not_widen_the_bound_on_wrong_tokens(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        async with served(log) as console, httpx2.AsyncClient(base_url=console.url) as client:
            answers = [
                await client.post(
                    "/session",
                    data={"token": f"wrong-{n}", "name": "x"},
                    headers={"x-forwarded-for": f"10.0.0.{n}", "forwarded": f"for=10.0.0.{n}"},
                )
                for n in range(8)
            ]
            assert [answer.status_code for answer in answers] == [403] * 5 + [429] * 3
            assert {act.host for act in await newest(log, limit=10)} == {"127.0.0.1"}

    on_log(valkey, prefix, check)
