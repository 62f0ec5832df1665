"""URLs that name a master and its sentinels: what they may look like, and what is said of others."""

from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError as ConnectionLost

from eventlog.connection.connect import check_url, connect_sync
from eventlog.connection.sentinel import parse

SECRET = "nobody-may-see"


@pytest.mark.parametrize(
    ("hosts", "found"),
    [
        ("a", [("a", 26379)]),
        ("a:1,b,10.0.0.3:65535", [("a", 1), ("b", 26379), ("10.0.0.3", 65535)]),
        ("[::1]", [("::1", 26379)]),
        ("a,[fe80::1]:5,[::ffff:10.0.0.1]", [("a", 26379), ("fe80::1", 5), ("::ffff:10.0.0.1", 26379)]),
    ],
)
def test_every_sentinel_is_found(hosts: str, found: list[tuple[str, int]]) -> None:
    assert list(parse(f"redis+sentinel://{hosts}/main").sentinels) == found
    assert list(parse(f"redis+sentinel://u:p@{hosts}/main").sentinels) == found


def test_service_and_database_are_the_path() -> None:
    assert [parse(f"redis+sentinel://a/{path}").service for path in ("m", "m/3", "my%2Fm")] == [
        "m",
        "m",
        "my/m",
    ]
    assert [parse(f"redis+sentinel://a/{path}").master["db"] for path in ("m", "m/", "m/3")] == [0, 0, 3]


@pytest.mark.parametrize(
    ("login", "found"),
    [
        ("", {}),
        (":word@", {"password": "word"}),
        ("me:word@", {"username": "me", "password": "word"}),
        ("m%40e:%3A%2F%3F%23%5B%40%2C%25@", {"username": "m@e", "password": ":/?#[@,%"}),
        ("me:a@b:c+d@", {"username": "me", "password": "a@b:c+d"}),
    ],
)
def test_the_login_is_the_masters_and_decoded(login: str, found: dict[str, str]) -> None:
    url = f"redis+sentinel://{login}a,b/main"
    assert parse(url).master == {**found, "db": 0}
    assert parse(url).sentinel == {}


def test_sentinels_have_a_login_of_their_own() -> None:
    options = "sentinel_username=me&sentinel_password=a+b%26c%3Dd%2B"
    found = parse(f"redis+sentinel://u:p@a/main?{options}")
    assert found.sentinel == {"username": "me", "password": "a+b&c=d+"}
    assert found.master == {"username": "u", "password": "p", "db": 0}


def test_tls_is_spoken_to_both() -> None:
    found = parse(
        "rediss+sentinel://a/main?ssl_ca_certs=/ca.pem&ssl_check_hostname=false&ssl_cert_reqs=required"
    )
    assert found.tls
    secured = {"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False, "ssl_cert_reqs": "required"}
    assert (found.master, found.sentinel) == ({**secured, "db": 0}, secured)
    assert not parse("redis+sentinel://a/main").tls


@pytest.mark.parametrize(
    ("rest", "fix"),
    [
        ("a", "/SERVICE"),
        ("a/", "/SERVICE"),
        ("a//0", "/SERVICE"),
        ("a/main/x", "DB is a number"),
        ("a/main/0/1", "DB is a number"),
        ("a/main/-1", "DB is a number"),
        ("/main", "host:port"),
        (",a/main", "host:port"),
        ("a,,b/main", "host:port"),
        ("a:/main", "host:port"),
        ("a:0/main", "host:port"),
        ("a:65536/main", "host:port"),
        ("a:port/main", "host:port"),
        ("::1/main", "host:port"),
        ("[::1/main", "host:port"),
        ("[::1]1/main", "host:port"),
        ("a b/main", "host:port"),
        ("a/main?socket_timeout=1", "sentinel_password"),
        ("a/main?ssl_ca_certs=/ca.pem", "unknown option"),
        ("a/main?sentinel_password", "sentinel_password once"),
        ("a/main?sentinel_password=", "sentinel_password once"),
        ("a/main?sentinel_username=a&sentinel_username=b", "sentinel_username once"),
    ],
)
def test_anything_else_is_refused_with_the_fix(rest: str, fix: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_url(f"redis+sentinel://{rest}")
    assert fix in str(caught.value)


@pytest.mark.parametrize("option", ["ssl_cert_reqs=perhaps", "ssl_check_hostname=perhaps", "ssl_ca_certs="])
def test_an_impossible_tls_option_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match="must give ssl_"):
        check_url(f"rediss+sentinel://a/main?{option}")


@pytest.mark.parametrize(
    "rest",
    [
        f":{SECRET}@a",
        f":{SECRET}/{SECRET}@a/main",
        f":{SECRET}?{SECRET}@a/main",
        f":{SECRET}&{SECRET}={SECRET}@a:x/main",
        f"a/main?password={SECRET}",
        f"a/main?{SECRET}={SECRET}",
        f"a/main?sentinel_password={SECRET}&sentinel_password={SECRET}",
        f"a:{SECRET}/{SECRET}/{SECRET}",
    ],
)
def test_no_complaint_repeats_a_part_of_the_url(rest: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_url(f"redis+sentinel://{rest}")
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_text_of_a_client_repeats_a_password() -> None:
    url = f"redis+sentinel://{SECRET}:{SECRET}@127.0.0.1:1/main?sentinel_password={SECRET}"
    with connect_sync(url) as client:
        texts = [repr(parse(url)), repr(client), repr(client.connection_pool)]
        with pytest.raises(ConnectionLost, match="No master found") as caught:
            client.ping()
    assert SECRET not in "".join([*texts, str(caught.value)])
