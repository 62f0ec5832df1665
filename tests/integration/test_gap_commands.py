"""`gaps list` and `gaps resend`: what they print, when they act, and how they end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime

import pytest

from ampeco.client import Client
from ampeco.simulator.testing import Box, tenant_in_a_box
from eventlog.clock import now_ms, rfc3339
from eventlog.gap_records import NOT_SUBSCRIBED, RESENDER, Gaps
from eventlog.heartbeat import Hole
from eventlog.inspection.gaps import changed, recorded_gaps
from eventlog.internal import GAP_CLOSED
from eventlog.subscription import SubscriptionStore
from handlers import Context, Event, Raw, Retry, handler
from tests.cli import Cli
from tests.harness import declaration, drained, opened
from tests.web import version_1

SESSION, HARDWARE = "SessionUpdateNotification", "HardwareStatusNotification"
URL = "https://us.example/webhooks/ampeco"


@handler(RESENDER, on=[GAP_CLOSED], start="oldest")
async def refused(event: Event[Raw], ctx: Context) -> None:
    raise Retry("AMPECO answers 429: too early for a resend", after_s=900, counts=False)


@pytest.fixture
def tenant(monkeypatch: pytest.MonkeyPatch, valkey, prefix) -> Iterator[Box]:
    """A tenant at which we have a notification subscription, as the log remembers."""
    with tenant_in_a_box() as box:
        monkeypatch.setenv("AWR_TENANT_URL", box.url)
        monkeypatch.setenv("AWR_API_TOKEN", box.token)
        with Client(box.url, box.token) as client:
            made = client.notifications.subscribe([SESSION, HARDWARE], callback_url=URL)

        async def remember() -> None:
            async with opened(valkey.url, prefix) as log:
                await SubscriptionStore(log).remember({"id": made.id, "callback_url": URL})

        asyncio.run(remember())
        yield box


WINDOW = ("--from", "2h ago", "--to", "1h ago")


def test_without_gaps_it_says_so(cli: Cli) -> None:
    assert cli("gaps", "list")[:2] == (0, "no gap is recorded\n")
    assert cli.json("gaps", "list") == []


def test_gaps_are_listed_with_reason_state_resend_and_proof(cli: Cli, valkey, prefix) -> None:
    now = now_ms()

    async def fill() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([declaration(refused)])
            await log.redis.hset(log.key("door"), "r", now - 60_000)
            assert await log.close_gap("r", Hole(now - 60_000, now), [SESSION, HARDWARE], URL)
            await drained(log, refused)
            await Gaps(log).note(NOT_SUBSCRIBED, now - 900_000, now - 800_000, [SESSION, HARDWARE])
            done = {"state": "unproven", "checks": {SESSION: [214, 212, 2]}, "unproven": {HARDWARE: "why"}}
            gap = (await recorded_gaps(log))[0]
            await Gaps(log).replace(gap.id, gap.text, changed(gap, done).text)

    asyncio.run(fill())
    outage, silent = cli.json("gaps", "list")
    assert (outage["reason"], outage["state"], outage["types"]) == (
        "no-receiver",
        "open",
        [SESSION, HARDWARE],
    )
    assert (outage["from"], outage["to"]) == (rfc3339(now - 60_000), rfc3339(now))
    assert outage["resend"]["state"] == "retry"
    assert "too early" in outage["resend"]["words"]
    assert outage["resend"]["at"] > rfc3339(now)
    assert (silent["reason"], silent["state"], silent["resend"]) == ("not-subscribed", "unproven", None)
    assert silent["proven"] == [{"type": SESSION, "changed": 214, "seen": 212, "reconstructed": 2}]
    assert silent["unproven"] == [{"type": HARDWARE, "why": "why"}]
    text = cli("gaps", "list")[1]
    assert "(60 s)  no-receiver  open" in text
    assert f"{SESSION}: 214 sessions changed, 212 seen, 2 reconstructed" in text
    assert f"unproven (why): {HARDWARE}" in text
    assert len(cli.json("gaps", "list", "--limit", "1")) == 1


def test_a_resend_is_planned_and_then_asked_for(cli: Cli, tenant: Box) -> None:
    planned = cli.json("gaps", "resend", *WINDOW)
    assert planned["done"] is False
    assert planned["plan"]["types"] == [SESSION, HARDWARE]
    code, out, err = cli("gaps", "resend", *WINDOW)
    assert (code, HARDWARE in out, "--yes" in err) == (0, True, True)
    assert tenant.actions() == []
    assert cli.json("audit", "list") == []
    asked = cli.json("gaps", "resend", *WINDOW, "--type", SESSION, "--yes")
    (act,) = cli.json("audit", "list")
    assert (act["what"], act["plan"]["types"]) == ("gaps resend", [SESSION])
    assert (asked["done"], asked["result"]) == (True, {"accepted": True})
    (action,) = tenant.actions()
    assert action["body"]["notifications"] == [SESSION]
    for name, of in (("from", "startTime"), ("to", "endTime")):
        moments = (asked["plan"][name], action["body"][of])
        planned_at, asked_at = (datetime.fromisoformat(moment) for moment in moments)
        assert abs((planned_at - asked_at).total_seconds()) < 1


@pytest.mark.parametrize("status", [409, 422, 429])
def test_too_early_is_said_in_words(cli: Cli, tenant: Box, status: int) -> None:
    tenant.change_habits(too_early_status=status)
    assert cli("gaps", "resend", *WINDOW, "--yes")[0] == 0
    code, _, err = cli("gaps", "resend", *WINDOW, "--yes")
    assert code == 1
    assert f"AMPECO answers {status}" in err
    assert "too early" in err
    assert ("disabled" in err) is (status != 429), "a pause that is named means too early"


MOVED = "https://moved.example"


@pytest.mark.parametrize(
    ("remembers_id", "callback_url", "public_url"),
    [
        (False, f"{URL}/", MOVED),
        (False, URL.replace("us.example", "US.example:443"), MOVED),
        (False, "", "https://us.example:443"),
        (True, f"{MOVED}/webhooks/ampeco", MOVED),
    ],
    ids=["slash", "port", "settings", "moved"],
)
def test_ours_is_found_as_the_registration_finds_it(
    cli: Cli,
    tenant: Box,
    monkeypatch: pytest.MonkeyPatch,
    valkey,
    prefix,
    remembers_id: bool,
    callback_url: str,
    public_url: str,
) -> None:
    """By the id that the log remembers, else by the URL in any spelling: AMPECO may show another than we sent."""
    ours = cli.json("gaps", "resend", *WINDOW)["plan"]["id"]
    with tenant.sync_client() as client:
        client.notifications.subscribe([SESSION], callback_url="https://others.example/")
    monkeypatch.setenv("AWR_PUBLIC_URL", public_url)

    async def remember() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.redis.delete(log.key("subscription"))
            if callback_url:
                known = {"id": ours if remembers_id else "999", "callback_url": callback_url}
                await SubscriptionStore(log).remember(known)

    asyncio.run(remember())
    assert cli.json("gaps", "resend", *WINDOW, "--yes")["plan"]["id"] == ours
    assert len(tenant.actions()) == 1


def test_a_tenant_with_version_1_alone_is_asked(
    cli: Cli, tenant: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    with version_1(tenant.url) as url:
        monkeypatch.setenv("AWR_TENANT_URL", url)
        assert cli.json("gaps", "resend", *WINDOW, "--yes")["done"] is True
    assert len(tenant.actions()) == 1


def test_what_cannot_be_asked_is_refused(cli: Cli, tenant: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("gaps", "resend", "--from", "1h ago", "--to", "2h ago")[0] == 2
    assert cli("gaps", "resend", "--from", "1h ago")[0] == 2
    assert cli("gaps", "resend", *WINDOW, "--type", "a,b")[0] == 2
    monkeypatch.setenv("AWR_API_TOKEN", "another-token-that-nobody-knows")
    code, _, err = cli("gaps", "resend", *WINDOW)
    assert (code, "401" in err) == (1, True)
    monkeypatch.setenv("AWR_TENANT_URL", "http://127.0.0.1:9")
    assert cli("gaps", "resend", *WINDOW)[0] == 3
    monkeypatch.delenv("AWR_API_TOKEN")
    code, _, err = cli("gaps", "resend", *WINDOW)
    assert (code, "AWR_API_TOKEN" in err) == (2, True)


def test_a_misspelled_type_of_a_resend_is_shown_in_its_plan(cli: Cli, tenant: Box) -> None:
    _, out, _ = cli("gaps", "resend", *WINDOW, "--type", f"{SESSION}s")
    assert f"  {SESSION}s; did you mean '{SESSION}'?" in out


def test_without_a_known_address_or_subscription_it_says_what_is_missing(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tenant_in_a_box() as box:
        monkeypatch.setenv("AWR_TENANT_URL", box.url)
        monkeypatch.setenv("AWR_API_TOKEN", box.token)
        code, _, err = cli("gaps", "resend", *WINDOW)
        assert (code, "AWR_PUBLIC_URL" in err) == (2, True)
        monkeypatch.setenv("AWR_PUBLIC_URL", "https://us.example")
        code, _, err = cli("gaps", "resend", *WINDOW)
        assert (code, URL in err) == (1, True)


def test_no_text_of_a_record_reaches_the_terminal_as_it_is(cli: Cli, valkey, prefix) -> None:
    record = {
        "from": rfc3339(now_ms() - 9_000),
        "to": rfc3339(now_ms()),
        "types": ["a\x1b[2J"],
        "unproven": {"a\x1b[2J": "\r\nforged"},
        "state": "unproven",
    }

    async def fill() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.redis.hset(log.key("gaps"), "1", json.dumps(record))

    asyncio.run(fill())
    code, out, _ = cli("gaps", "list")
    assert code == 0
    assert "\x1b" not in out
    assert "\nforged" not in out
