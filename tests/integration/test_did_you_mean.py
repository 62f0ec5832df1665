"""Where a type or the name of a handler is typed, a misspelled one gets the one that it may mean."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from ampeco.simulator.testing import tenant_in_a_box
from commands.doctor.configured import settings as settings_check
from commands.doctor.configured import usable
from commands.doctor.deployment import Deployment
from commands.type_names import misspelled_handlers
from handlers import Context, Event, Raw, handler
from tests.cli import Cli
from tests.harness import declaration, drained, event, opened

SEEN = "SessionUpdateNotification"


@pytest.fixture
def cli(capsys, monkeypatch, valkey, prefix) -> Cli:
    """A log with one event, and with the handler `acme.mail` that has handled it."""

    @handler("acme.mail", on=[SEEN])
    async def mail(event: Event[Raw], ctx: Context) -> None: ...

    async def fill() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([declaration(mail)])
            await log.append([event(SEEN, "session:7")])
            await drained(log, mail)

    asyncio.run(fill())
    return Cli(capsys, monkeypatch, valkey.url, prefix)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("events list --type SessionUpdateNotifcation", 0, f"ever arrived; did you mean '{SEEN}'?"),
        (
            "events tail --no-follow --type SessionUpdateNotifcation",
            0,
            f"ever arrived; did you mean '{SEEN}'?",
        ),
        ("events list --type HardwareStatus", 0, "did you mean 'HardwareStatusNotification'?"),
        ("dead list --type SessionUpdate", 0, f"did you mean '{SEEN}'?"),
        ("dead retry --type SessionUpdate", 0, f"did you mean '{SEEN}'?"),
        ("dead list --handler acme.mial", 2, "did you mean 'acme.mail'?"),
        ("handlers pause acme.mial", 2, "did you mean 'acme.mail'?"),
        ("handlers replay acme.mial --from 1h\tago", 2, "did you mean 'acme.mail'?"),
        ("handlers replay acme.mail --from 1h\tago --type SessionUpdate", 2, f"did you mean '{SEEN}'?"),
        ("explain session:7 --handler acme.mial", 2, "did you mean 'acme.mail'?"),
        ("explain sesion:7", 1, "did you mean 'session:7'?"),
        ("events hurry session:7 --handler acme.mial", 2, "did you mean 'acme.mail'?"),
        ("handlers run resend-faild --event x", 2, "did you mean 'resend-failed'?"),
        ("handlers new acme.new --type SessionUpdate", 2, f"did you mean '{SEEN}'?"),
        ("simulator --scenario storm-of-fault", 2, "is not a scenario"),
    ],
)
def test_a_misspelled_name_gets_the_one_that_it_may_mean(cli: Cli, words: str, code: int, says: str):
    ended, out, err = cli(*(word.replace("\t", " ") for word in words.split(" ")))
    assert says in out + err
    assert ended == code


def test_a_type_that_was_seen_and_one_like_no_other_get_no_suggestion(cli: Cli):
    assert "did you mean" not in cli("events", "list", "--type", SEEN)[2].lower()
    assert cli("events", "list", "--type", "x" * 300)[0] == 0
    assert "did you mean" not in cli("events", "list", "--type", "vendor.invoice")[2].lower()


def test_types_in_settings_are_looked_at(tmp_path: Path):
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"SessionUpdateNotifcation": {"entity": "session", "paths": ["session.id"]}}))
    environ = {
        "AWR_NOTIFICATIONS": "HardwareStatusNotifcation,ticket.opened,partner.created",
        "AWR_ENTITY_KEYS_FILE": str(keys),
        "AWR_REGISTER": "off",
        "AWR_SIGNING_KEYS": "k" * 40,
    }
    said = asyncio.run(settings_check(Deployment(usable(environ)[0], (), environ))).what
    assert "AWR_NOTIFICATIONS names the unknown type 'HardwareStatusNotifcation'; did you mean" in said
    assert (
        f"AWR_ENTITY_KEYS_FILE names the unknown type 'SessionUpdateNotifcation'; did you mean '{SEEN}'?"
        in said
    )
    assert "ticket.opened" not in said
    assert "partner.created" not in said, "a newer type may be like a known one"


def test_handlers_in_settings_are_looked_at_by_the_check_of_all_plugins(cli: Cli, monkeypatch):
    monkeypatch.setenv("AWR_QUEUE_OF", "resend-faild=bulk,other.team=bulk")
    monkeypatch.setenv("AWR_HANDLERS_ALLOW", "resend_failed")
    code, _, err = cli("handlers", "check")
    assert code == 0
    assert [line for line in err.splitlines() if not line.startswith("off, until")] == [
        "note: AWR_QUEUE_OF names the unknown handler 'resend-faild'; did you mean 'resend-failed'?",
        "note: AWR_HANDLERS_ALLOW names the unknown handler 'resend_failed'; did you mean 'resend-failed'?",
    ]


def test_doctor_compares_handlers_in_settings_with_those_of_the_log():
    settings, _ = usable({"AWR_QUEUE_OF": "acme.mial=bulk,other.team=bulk"})
    assert misspelled_handlers(settings, ["acme.mail"]) == [
        "AWR_QUEUE_OF names the unknown handler 'acme.mial'; did you mean 'acme.mail'?"
    ]
    assert misspelled_handlers(settings, ["acme.mial", "acme.mail"]) == []


def test_a_resource_that_no_listing_has_gets_the_nearest(cli: Cli, monkeypatch):
    monkeypatch.setenv("AWR_BACKFILL", "SessionUpdate")
    code, _, err = cli("settings")
    assert code == 2
    assert f"did you mean '{SEEN}'?" in err


def test_a_command_to_the_simulator_names_the_type_that_is_meant(cli: Cli):
    with tenant_in_a_box() as box:
        code, _, err = cli("simulator", "send", "HardwareStatusNotifcation", "--url", box.url)
    assert code == 1
    assert "nothing was sent; did you mean 'HardwareStatusNotification'?" in err
