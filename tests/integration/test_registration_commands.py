"""`registration show`, `plan`, `apply` and `remove` against a simulated tenant and a real log."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from ampeco.signature import SigningKey
from ampeco.simulator.testing import TOKEN, Box, tenant_in_a_box
from ampeco.sync_client import Client
from eventlog.connection.embedded import EmbeddedServer
from eventlog.log import EventLog
from eventlog.registry import Declaration
from eventlog.replicas import Replica, publish
from eventlog.subscription import SubscriptionStore
from tests.cli import Cli
from tests.harness import on_log

A, B, C = "BootNotification", "SessionUpdateNotification", "cdr.received"
PUBLIC = "https://us.example"
URL = f"{PUBLIC}/webhooks/ampeco"
KEY = SigningKey.of(TOKEN).key_id


@dataclass
class World:
    """A tenant, a log, and the command line."""

    tenant: Box
    cli: Cli
    url: str
    prefix: str

    def log(self, work) -> object:
        return on_log(self.url, self.prefix, work)

    def wants(self, *types: str, name: str = "invoices") -> None:
        self.log(lambda log: log.declare([Declaration(name, "v1", types, "default", "none", "now")]))

    def there(self) -> list[tuple[str, set[str]]]:
        """Id and types of what the tenant has for our URL."""
        found = self.tenant.state()["subscriptions"]
        return [
            (str(one["id"]), set(one["notifications"]))
            for one in found
            if one["webhook"]["callbackUrl"] == URL
        ]


@pytest.fixture
def world(
    valkey: EmbeddedServer, prefix: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    with tenant_in_a_box() as tenant:
        for name, value in {
            "AWR_TENANT_URL": tenant.url,
            "AWR_API_TOKEN": TOKEN,
            "AWR_PUBLIC_URL": PUBLIC,
        }.items():
            monkeypatch.setenv(name, value)
        yield World(tenant, Cli(capsys, monkeypatch, valkey.url, prefix), valkey.url, prefix)


def test_a_plan_changes_nothing_and_apply_makes_it_so(world: World) -> None:
    world.wants(A, B)
    code, out, _ = world.cli("registration", "plan")
    assert code == 0
    assert f"+ {A} (invoices)" in out
    assert world.cli("registration", "plan", "--exit-code")[0] == 1
    code, out, err = world.cli("registration", "apply")
    assert (code, world.there()) == (0, [])
    assert "--yes" in err
    done = world.cli.json("registration", "apply", "--yes")
    assert (done["done"], done["state"], done["plan"]["action"]) == (True, "registered", "create")
    assert [types for _, types in world.there()] == [{A, B}]
    assert world.cli("registration", "plan", "--exit-code")[0] == 0


def test_a_plan_says_that_a_type_is_pinned(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.wants(B)
    monkeypatch.setenv("AWR_NOTIFICATIONS", f"{A},{B}")
    out = world.cli("registration", "plan")[1]
    assert f"+ {A} (AWR_NOTIFICATIONS)\n" in out
    assert f"+ {B} (invoices)\n" in out


def test_show_names_who_wants_what_and_what_ampeco_confirmed(world: World) -> None:
    world.wants(A, B)
    world.wants(B, "receiver.gap.closed", name="mails")
    world.cli("registration", "apply", "--yes")

    async def heard(log: EventLog) -> None:
        replica = Replica("pod-1", frozenset({KEY}), KEY, URL)
        await publish(log, replica, types={(KEY, B): 1_000}, subscriptions=[])

    world.log(heard)
    shown = world.cli.json("registration", "show")
    assert (shown["state"], shown["callback_url"]) == ("registered", URL)
    assert shown["wanted"] == {A: ["invoices"], B: ["invoices", "mails"]}
    assert shown["confirmed_at"].endswith("Z")
    assert shown["last_events"] == [{"key_id": KEY, "type": B, "at": "1970-01-01T00:00:01.000Z"}]
    (one,) = shown["subscriptions"]
    assert (one["ours"], one["made_by_this_log"], one["key_ids"]) == (True, True, [KEY])
    assert (shown["receivers"][0]["name"], shown["receivers"][0]["accepted_key_ids"]) == ("pod-1", [KEY])
    code, out, _ = world.cli("registration", "show")
    assert code == 0
    for word in ("registered", B, "invoices, mails", "pod-1", KEY):
        assert word in out
    assert TOKEN not in out


def test_it_writes_no_line_for_each_request_of_the_client(world: World) -> None:
    world.wants(A)
    command = [sys.executable, "-m", "commands", "registration", "plan"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"+ {A} (invoices)" in done.stdout


def test_apply_gives_up_what_no_handler_wants_and_leaves_foreign_ones_alone(world: World) -> None:
    subscribe(world, [A], "https://them.example/hook")
    subscribe(world, [A, C], URL)
    world.wants(A)
    plan = world.cli.json("registration", "plan")["plan"]
    assert (plan["action"], plan["drops"]) == ("update", [C])
    world.cli("registration", "apply", "--yes")
    assert [types for _, types in world.there()] == [{A}]
    assert len(world.tenant.state()["subscriptions"]) == 2


def test_a_second_one_is_left_until_an_operator_names_it(world: World) -> None:
    world.wants(A)
    world.cli("registration", "apply", "--yes")
    ((ours, _),) = world.there()
    subscribe(world, [A], URL)
    plan = world.cli.json("registration", "plan")["plan"]
    (second,) = plan["leaves"]
    assert "--remove" in plan["leaves_why"]
    code, _, err = world.cli("registration", "apply", "--remove", "999", "--yes")
    assert (code, "999" in err) == (1, True)
    code, out, _ = world.cli("registration", "apply", "--remove", second, "--yes")
    assert (code, f"remove {second}" in out) == (0, True)
    assert [id_ for id_, _ in world.there()] == [ours]


def test_remove_leaves_a_tombstone_that_only_apply_lifts(world: World) -> None:
    world.wants(A)
    world.cli("registration", "apply", "--yes")
    assert world.cli("registration", "remove")[0] == 0
    assert len(world.there()) == 1
    assert world.cli.json("registration", "remove", "--yes")["done"] is True
    assert world.there() == []
    shown = world.cli.json("registration", "show")
    assert (shown["state"], shown["subscription_id"]) == ("removed", None)
    assert shown["removed_at"]
    assert "removed on request" in world.cli("registration", "plan")[1]
    assert world.cli("registration", "plan", "--exit-code")[0] == 1
    world.cli("registration", "apply", "--yes")
    assert len(world.there()) == 1
    assert world.cli.json("registration", "show")["removed_at"] is None


def test_without_a_handler_nothing_is_planned(world: World) -> None:
    code, out, _ = world.cli("registration", "plan", "--exit-code")
    assert (code, "no handler wants" in out) == (0, True)
    assert world.cli("registration", "apply", "--yes")[0] == 0
    assert world.there() == []


def test_receivers_with_another_url_keep_apply_from_changing_anything(world: World) -> None:
    world.wants(A)

    async def lives(log: EventLog) -> None:
        store = SubscriptionStore(log)
        former = "https://former.example/hook"
        await store.confirm(
            {"id": "1", "callback_url": former, "types": A, "key_id": KEY},
            state="registered",
            key_id=KEY,
            covers=[A],
        )
        await publish(log, Replica("old-pod", frozenset({KEY}), KEY, former), types={}, subscriptions=[])

    world.log(lives)
    code, _, err = world.cli("registration", "apply", "--yes")
    assert (code, world.there()) == (1, [])
    assert "old-pod" in err
    assert "https://former.example/hook" in err


def test_apply_makes_no_subscription_whose_key_the_receivers_refuse(world: World) -> None:
    """A worker's pod may have another token than the one that registers."""
    world.wants(A)

    async def lives(log: EventLog) -> None:
        await publish(log, Replica("pod-1", frozenset({"0ther000"}), "", URL), types={}, subscriptions=[])

    world.log(lives)
    code, _, err = world.cli("registration", "apply", "--yes")
    assert (code, world.there()) == (1, [])
    assert KEY in err
    assert "pod-1" in err
    assert "AWR_SIGNING_KEYS" in err


@pytest.mark.parametrize(
    ("habits", "code", "words"),
    [
        ({"refusals": {"notifications.list": 403}}, 2, "AWR_API_TOKEN"),
        ({"refusals": {"notifications.list": 404}}, 1, "not-found"),
        ({"refusals": {"notifications.list": 429}}, 3, "rate-limited"),
        ({"api_fault_share": 1.0, "api_fault_status": 502}, 3, "server-fault"),
    ],
)
def test_what_ampeco_refuses_ends_the_command_with_one_line_and_show_still_shows_the_log(
    world: World, habits: dict[str, object], code: int, words: str
) -> None:
    world.wants(A)
    world.tenant.change_habits(**habits)
    for command in ("plan", "show"):
        ended, out, err = world.cli("registration", command)
        assert (ended, err.count("\n")) == (code, 1), err
        assert words in err
        assert (URL in out) is (command == "show")


def test_an_unreachable_tenant_ends_with_3_and_shows_what_the_log_knows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWR_TENANT_URL", "http://127.0.0.1:9")
    code, out, err = world.cli("registration", "show", "--json")
    assert code == 3
    assert '"subscriptions": null' in out
    assert err.count("\n") == 1


def test_another_tenants_log_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.wants(A)
    world.log(lambda log: log.claim("https://first.example", ""))
    monkeypatch.setenv("AWR_TENANT_URL", "https://other.example")
    code, _, err = world.cli("registration", "apply", "--yes")
    assert (code, "AWR_TENANT_URL" in err) == (2, True)


def test_what_ampeco_said_reaches_no_terminal_as_it_is(world: World) -> None:
    world.wants(A)

    async def said(log: EventLog) -> None:
        await SubscriptionStore(log).note_state("failed:forbidden", key_id=KEY, detail="no \x1b[31m\u202e")

    world.log(said)
    for options in ((), ("--json",)):
        code, out, _ = world.cli("registration", "show", *options)
        assert code == 0
        assert "no " in out
        assert not {"\x1b", "\u202e"} & {*out}


def subscribe(world: World, types: list[str], callback_url: str) -> None:
    """Someone else subscribes with the same token."""
    with Client(world.tenant.url, world.tenant.token) as client:
        client.notifications.subscribe(types, callback_url=callback_url)


def test_looking_ties_a_log_to_nothing(world: World) -> None:
    for command in ("show", "plan"):
        assert world.cli("registration", command)[0] == 0

    async def tied(log: EventLog) -> bool:
        return bool(await log.redis.exists(log.key("tenant")))

    assert world.log(tied) is False


def test_a_plan_says_which_type_a_misspelled_one_may_mean(world: World) -> None:
    world.wants("SessionUpdateNotifcation", "partner.created")
    _, out, _ = world.cli("registration", "plan")
    assert "SessionUpdateNotifcation (invoices); did you mean 'SessionUpdateNotification'?" in out
    assert "partner.created (invoices)\n" in out


def test_a_type_that_ampeco_refuses_is_left_out(world: World) -> None:
    world.wants(A, "not.a.type.of.ampeco")
    code, _, err = world.cli("registration", "apply", "--yes")
    assert code == 0, err
    assert [types for _, types in world.there()] == [{A}]


def test_what_an_operator_changes_is_written_down_and_a_plan_is_not(world: World) -> None:
    world.wants(A)
    world.cli("registration", "apply")
    world.cli("registration", "apply", "--yes")
    world.cli("registration", "remove", "--yes")
    acts = world.cli.json("audit", "list")
    assert [act["what"] for act in acts] == ["registration remove", "registration apply"]
    assert acts[1]["plan"]["adds"] == [A]
