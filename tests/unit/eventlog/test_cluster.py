"""URLs that name a cluster: what they may look like, what is said of others, and the slot of a log."""

from __future__ import annotations

import pytest

from eventlog.connection.cluster import for_log, parse, tagged
from eventlog.connection.connect import check_url, connect
from eventlog.scripts import ROUTE, Script, Scripts, source
from receiver.settings import load
from tests.meta.repository import ROOT

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("hosts", "found"),
    [
        ("a", [("a", 6379)]),
        ("a:7000,b,[::1]:7001", [("a", 7000), ("b", 6379), ("::1", 7001)]),
    ],
)
def test_every_node_is_found(hosts: str, found: list[tuple[str, int]]) -> None:
    assert list(parse(f"redis+cluster://{hosts}").seeds) == found
    assert list(parse(f"redis+cluster://u:p@{hosts}/0").seeds) == found


def test_the_login_and_the_tls_options_are_for_every_node() -> None:
    found = parse("rediss+cluster://u:p%40@a?ssl_ca_certs=/ca.pem&ssl_check_hostname=false")
    assert found.tls
    assert found.arguments == {
        "username": "u",
        "password": "p@",
        "ssl_ca_certs": "/ca.pem",
        "ssl_check_hostname": False,
    }


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("", "must name its nodes as host:port"),
        ("a:x", "must name its nodes as host:port"),
        ("a/3", "only database 0"),
        ("a/service", "only database 0"),
        ("a?x=1", "unknown option; what can be given is none"),
        (f"u:{SECRET}#x@a", "percent-encode"),
    ],
)
def test_what_is_wrong_is_said_without_the_url(rest: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        check_url(f"redis+cluster://{rest}")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("prefix", "kept"),
    [("awr:", "{awr}:"), ("{awr}:", "{awr}:"), ("a.{b}-c:", "a.{b}-c:")],
)
def test_a_prefix_gets_one_hash_tag(prefix: str, kept: str) -> None:
    assert tagged(prefix) == kept
    url = for_log("redis+cluster://a", prefix)
    assert parse(url).prefix == kept
    assert for_log(url, "other:") == "redis+cluster://a#{other}:"
    check_url(url)  # children get it in their environment


def test_a_client_needs_to_know_the_log() -> None:
    with pytest.raises(ValueError, match="names no log"):
        connect("redis+cluster://a")


def test_the_settings_put_all_keys_of_a_cluster_into_one_slot() -> None:
    found = load({"AWR_REDIS_URL": "redis+cluster://a:1", "AWR_KEY_PREFIX": "mine:"})
    assert found.key_prefix == "{mine}:"
    assert found.redis_url is not None
    assert found.redis_url.get_secret_value() == "redis+cluster://a:1#{mine}:"
    assert load({"AWR_REDIS_URL": "redis://a", "AWR_KEY_PREFIX": "mine:"}).key_prefix == "mine:"


def test_a_log_on_one_server_may_have_a_hash_tag_too() -> None:
    assert load({"AWR_REDIS_URL": "redis://a", "AWR_KEY_PREFIX": "{mine}:"}).key_prefix == "{mine}:"


def test_every_script_declares_a_key_that_no_script_names() -> None:
    """A script with another key, or with none, could be torn while the slot moves."""
    scripts = vars(Scripts(connect("redis://a"), f"{{a}}:{ROUTE}"))
    files = {path.stem for path in (ROOT / "eventlog" / "scripts").glob("*.lua")}
    assert scripts.keys() == files - {"lib", "put_wake_up", "take_wake_up"}  # these declare the key they use
    assert {type(script) for script in scripts.values()} == {Script}
    assert [name for name in scripts if f"'{ROUTE}'" in source(name)] == []
    product = [path.read_text() for path in ROOT.glob("[cehrw]*/**/*.py")]
    assert [text for text in product if "register_script" in text or ".eval(" in text] == []
