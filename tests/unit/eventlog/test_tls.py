"""TLS contexts: one for all connections with the same options, and made again for a renewed certificate."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from eventlog.connection import tls
from eventlog.connection.connect import check_url, connect, connect_sync
from tests.servers import Certificates, certificates


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("certificates"))


def test_every_kind_of_client_shares_one_context(made: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    contexts: list[ssl.SSLContext] = []
    original = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda: contexts.append(original()) or contexts[-1])
    options = f"ssl_ca_certs={made.ca}&ssl_check_hostname=false"
    connections = []
    for url in (f"rediss://127.0.0.1:1?{options}", f"rediss+sentinel://127.0.0.1:1/main?{options}"):
        for _ in range(2):
            connections.append(connect(url).connection_pool.make_connection())
            used = connections[-1]._connection_arguments()["ssl"]
            assert used is contexts[0]
            blocking = connect_sync(url).connection_pool.make_connection()
            assert isinstance(blocking, tls.TLS)
            assert tls.context(blocking._tls) is used
    assert len(contexts) == 1


def test_a_renewed_certificate_is_read(made: Certificates) -> None:
    options = {"ssl_certfile": str(made.certificate), "ssl_keyfile": str(made.key)}
    first = tls.context(options)
    assert tls.context(options) is first
    os.utime(made.certificate, (1, 1))
    assert tls.context(options) is not first


def test_options_are_applied(made: Certificates) -> None:
    found = tls.context({"ssl_ca_certs": str(made.ca), "ssl_check_hostname": False, "ssl_min_version": 772})
    assert (found.check_hostname, found.verify_mode) == (False, ssl.CERT_REQUIRED)
    assert found.minimum_version == ssl.TLSVersion.TLSv1_3
    found = tls.context({"ssl_cert_reqs": "none"})
    assert (found.check_hostname, found.verify_mode) == (False, ssl.CERT_NONE)


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("ssl_ca_certs=/no/such/file", "No such file"),
        ("ssl_cert_reqs=perhaps", "not a Redis URL"),
        ("ssl_min_version=1", "ValueError"),
        ("ssl_ciphers=ALL", "unknown option; what can be given is"),
        ("colour=red", "unknown option"),
    ],
)
def test_options_that_cannot_be_used_are_refused(query: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=fault):
        check_url(f"rediss://:secret@127.0.0.1:1?{query}")
