"""A server in a private network answers to names that no web page can take over."""

import pytest

from ampeco.host_names import is_among

OURS = {"ops.example", "awr-pod-7f9c"}


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:9090",
        "localhost.",
        "127.0.0.1:9090",
        "10.0.0.7",
        "[::1]:9090",
        "[fd00::7]",
        "ops.example",
        "OPS.example.:1",
        "awr-pod-7f9c:9090",
    ],
)
def test_addresses_localhost_and_given_names_are_known(host: str) -> None:
    assert is_among([host], OURS)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        ":9090",
        "evil.example",
        "evil.example:9090",
        "evil.ops.example",
        "ops.example.evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example@localhost",
        "localhost@evil.example",
        "localhost/evil.example",
        "localhost evil.example",
        "localhost,evil.example",
        "127.0.0.1:x",
        "127.1",
        "0x7f000001",
        "2130706433",
        "[::1",
        "::1",
        "[evil.example]",
        "[fe80::1%25eth0]",
    ],
)
def test_other_names_are_not(host: str) -> None:
    assert not is_among([host], OURS)


def test_a_request_has_one_host() -> None:
    assert not is_among([], OURS)
    assert not is_among(["localhost", "localhost"], OURS)
