"""Signatures with a timestamp, at a real receiver: found out, marked when old, refused only when asked to."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from ampeco.signature import SCHEMES, SigningKey, sign
from eventlog.connection.embedded import EmbeddedServer
from eventlog.inspection.events import list_events
from eventlog.record import StoredEvent
from tests.door import TOKEN, Door, Reply, door
from tests.harness import opened

KEY = SigningKey.of(TOKEN)


def send(front: Door, number: int, scheme: str, *, age_s: float = 0.0) -> Reply:
    """A notification signed as AMPECO might, `age_s` ago."""
    body = b'{"notification": "x.changed", "sessionId": "s%d"}' % number
    at = (datetime.now(UTC) - timedelta(seconds=age_s)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    signature = sign(SCHEMES[scheme](body, {b"x-timestamp": at.encode()}), KEY)
    return front.post(body, x_signature=signature, x_timestamp=at)


def stored(valkey: EmbeddedServer, prefix: str, number: int) -> StoredEvent:
    async def read() -> StoredEvent:
        async with opened(valkey.url, prefix) as log:
            return (await list_events(log, limit=1, key=f"session:s{number}"))[0]

    return asyncio.run(read())


@pytest.mark.parametrize("form", ["timestamp+body", "body.timestamp"])
def test_auto_pins_what_fits_and_an_old_request_is_kept_with_a_mark(
    valkey: EmbeddedServer, prefix: str, form: str
) -> None:
    with door(valkey.url, prefix, {"AWR_SIGNATURE_SCHEME": "auto"}) as front:
        assert send(front, 1, form).status == 202
        front.line("signature.scheme_pinned", key_id=KEY.key_id, scheme=form)
        assert send(front, 2, form, age_s=86_400).status == 202
        assert send(front, 3, "body", age_s=86_400).status == 202
        front.line("signature.scheme_pinned", key_id=KEY.key_id, scheme="body")
        assert [stored(valkey, prefix, n).marks for n in (1, 2, 3)] == [(), ("stale",), ()]
        assert front.metric("awr_events_stale_total") == 1
        assert front.stop() == 0


def test_with_a_tolerance_an_old_request_is_refused_with_a_reason_of_its_own(
    valkey: EmbeddedServer, prefix: str
) -> None:
    environ = {"AWR_SIGNATURE_SCHEME": "timestamp", "AWR_SIGNATURE_TOLERANCE_S": "600"}
    with door(valkey.url, prefix, environ) as front:
        assert send(front, 1, "timestamp.body", age_s=400).status == 202
        assert stored(valkey, prefix, 1).marks == ("stale",)
        refused = send(front, 2, "timestamp.body", age_s=700)
        assert (refused.status, refused.body) == (401, b"")
        front.line("event.rejected", reason="signature-stale")
        assert front.post(b"{}").status == 401
        front.line("event.rejected", reason="timestamp-missing")
        assert front.metric('awr_events_refused_total{reason="signature-stale"}') == 1
