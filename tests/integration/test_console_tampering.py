"""Addresses, cookies and forms of the console that were changed: no page breaks, and no right is gained."""

from __future__ import annotations

import re
from urllib.parse import quote

import httpx2

from eventlog.log import EventLog
from eventlog.operation.handlers import pauses
from tests.integration.test_console import BODIES, filled, on_log
from tests.integration.test_console_attacks import served

HOSTILE = [
    "0",
    "0-0",
    "0-0-0",
    "9999-9999999999999999999-9999999999999999999",
    "9-999999999999999-999999999999999999",
    "\u0661-\u0662-\u0663",
    "x" * 500,
    "x" * 501,
    "\x00",
    "\ud800",
    "x\r\nSet-Cookie: awr_console=x",
    "../../../etc/passwd",
    "..\\..",
    "<script>alert(1)</script>:1",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    f"{'9' * 400}d ago",
    "{{ 7 * 7 }}",
    "*",
    "%",
]
ADDRESSES = (
    "event/@", "event/@?personal=show", "handlers/@", "handlers/@/retire", "handlers/@/replay",
    "handlers/acme.mail/replay?from=@", "handlers/acme.mail/replay?from=1h+ago&to=@",
    "handlers/acme.mail/replay?from=1h+ago&key=@", "dead/@/@", "dead/acme.mail/@", "dead?handler=@",
    "dead?reason=@&place=@", "dead?handler=acme.mail&before=@", "dead/plan/retry?handler=acme.mail&first=@",
    "dead/plan/discard?handler=acme.mail&last=@", "dead/plan/discard?handler=@", "quarantine/@",
    "quarantine/plan/@", "quarantine?before=@", "quarantine?reason=@", "quarantine/plan/discard?first=@",
    "acts/@", "audit?before=@", "line?before=@", "shapes?after=@", "shapes?type=@", "search?q=@",
    "session?next=@", "events?type=@", "events?key=@", "events?since=@", "events?until=@", "events?before=@",
    "events?handler=@", "events?handler=acme.mail&state=@", "entity?key=@", "entity?key=session:1&before=@",
    "@", "help?@",
)  # fmt: skip


def test_no_address_breaks_a_page(valkey, prefix, caplog) -> None:
    async def check(log: EventLog) -> None:
        await filled(log, 4)
        async with served(log) as console, httpx2.AsyncClient(base_url=console.url) as client:
            for text in HOSTILE:
                value = quote(text.encode("utf-8", "surrogatepass"), safe="")
                for address in ADDRESSES:
                    answer = await client.get(f"/{address.replace('@', value)}")
                    assert answer.status_code < 500, f"{address} {text!r}"
                    assert "set-cookie" not in answer.headers
                    assert "<script>alert" not in answer.text
                    assert len(answer.content) < 102_400
        assert [record for record in caplog.records if record.exc_info] == []

    on_log(valkey, prefix, check)


def test_a_stolen_form_or_cookie_of_one_right_gives_no_other(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await filled(log, 1)
        async with served(log) as console, httpx2.AsyncClient(base_url=console.url) as client:
            reading = await client.post("/session", data={"token": BODIES, "name": "Eve"})
            cookie = reading.headers["set-cookie"].split(";")[0].removeprefix("awr_console=")
            page = (await client.get("/handlers/acme.mail", headers={"cookie": f"awr_console={cookie}"})).text
            form = {"form_token": re.search(r'name="form_token" value="([^"]+)"', page)[1]}
            payload, signed = cookie.split(".")
            for forged in (
                cookie,
                f"{payload}.{signed.replace('bodies', 'act')}",
                f"{payload}.{signed}.{signed.replace('bodies', 'act')}",
                f"{payload}.act={signed.partition('=')[2]}.bodies={signed.partition('=')[2]}",
            ):
                headers = {"cookie": f"awr_console={forged}"}
                answer = await client.post("/handlers/acme.mail/pause", data=form, headers=headers)
                assert answer.status_code == 403
            assert await pauses(log) == {}

    on_log(valkey, prefix, check)
