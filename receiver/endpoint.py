"""The webhook endpoint: checks method, content type and size, and maps outcomes to HTTP statuses.

It handles requests before they are verified, and does not know what a body means. `verification.py` verifies a
body and `intake.py` stores it; the table in `answers.py` turns their errors into statuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, TypeAlias

from starlette.types import Message, Receive, Scope, Send

from ampeco.errors import SignatureError
from ampeco.signature import SIGNATURE_HEADER
from eventlog.log import Answer
from receiver.answers import Reply, refusal, reply_of
from receiver.elements import ENCODING_HEADER
from receiver.endpoint_log import EndpointLog
from receiver.errors import Refused
from receiver.heard import WEBHOOK_ID
from receiver.intake import Intake
from receiver.logging import get_logger
from receiver.request_body import BodyReader, Limits, SenderGone
from receiver.tracing import RequestTrace, Tracing
from receiver.verification import RawDelivery, Verifier

_SIGNATURE = SIGNATURE_HEADER.lower().encode()
_TYPE, _LENGTH = b"content-type", b"content-length"
_LENGTH_DIGITS: Final = 20  # HTTP parsers allow any number of leading zeros, int() does not
_USED: Final = frozenset((_SIGNATURE, _TYPE, _LENGTH, ENCODING_HEADER, WEBHOOK_ID))

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
_log = get_logger(__name__)


class WebhookEndpoint:
    """The ASGI application behind the webhook path.

    A server that already has the whole request calls its two halves instead: `gate` and `take`.

    Attributes:
        used_headers: names of the headers that it uses, in lower case.
    """

    def __init__(
        self,
        verifier: Verifier,
        intake: Intake,
        endpoint_log: EndpointLog,
        *,
        accept_status: int,
        now_ms: Callable[[], int],
        limits: Limits,
        heard: Callable[[str, Headers, int], None] = lambda key_id, headers, at_ms: None,
        tracing: Tracing | None = None,
    ) -> None:
        """
        Args:
            heard: called with the key and the headers of each verified request, and when it arrived (Unix ms).
            tracing: follows each verified request; None where traces are off.
        """
        self._heard = heard
        self._verifier = verifier
        self._intake = intake
        self._endpoint_log = endpoint_log
        self._max_body_bytes = limits.body_bytes
        self._bodies = BodyReader(limits)
        self._now_ms = now_ms
        self._accepted = reply_of(accept_status)
        self._tracing = tracing
        self.used_headers = _USED | verifier.headers | (tracing.headers if tracing else frozenset())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def reply(what: Reply) -> None:
            if not answered.done():
                answered.set_result(what)

        try:
            signature = self.gate(scope["method"].encode(), scope["headers"])
            body = await self._bodies.read(receive)
            self.take(body, signature, scope["headers"], reply)
            said = await answered
        except Refused as refused:
            await self._refuse_unread(refused.reason, receive, send)
            return
        except SenderGone:
            return
        except asyncio.CancelledError:  # the process stops, and its time for open requests is over
            said = self._refused("receiver-stops", close=True)
        await send(_start(said))
        await send(_END)

    def gate(self, method: bytes, headers: Headers) -> bytes | None:
        """Check what can be checked before the body is read; return the signature, if there is one.

        Args:
            headers: at least those of `used_headers`, names in lower case.

        Raises:
            Refused: with a reason of `answers.STATUS`. It is not counted yet.
        """
        if method != b"POST":
            raise Refused("method-not-allowed")
        signature = content_type = None
        for name, value in headers:
            if name == _SIGNATURE:
                if signature is not None:  # a proxy might check the one, and we the other
                    raise Refused("signature-malformed")
                signature = value
            elif name == _TYPE:
                if value not in _USUAL_TYPES and not _is_json(value):
                    raise Refused("content-type-not-json")
                if content_type is not None and value != content_type:
                    raise Refused("content-type-not-json")
                content_type = value
            elif name == _LENGTH and (len(value) > _LENGTH_DIGITS or int(value) > self._max_body_bytes):
                raise Refused("body-too-large")
        return signature

    def take(
        self, body: bytes, signature: bytes | None, headers: Headers, reply: Callable[[Reply], None]
    ) -> None:
        """Verify a body that passed the gate, and append it to the log.

        Args:
            signature, headers: as for `gate`.
            reply: called once with the answer, possibly before `take` returns; must not raise.
        """
        trace: RequestTrace | None = None

        def answered(answer: Answer) -> None:
            refused = answer.outcome == "refused"
            said = self._refused(answer.reason or "log-refused") if refused else self._accepted
            if trace is not None:
                trace.ended(said.status, answer.outcome, answer.event_id, answer.reason)
            reply(said)

        try:
            verified = self._verifier.verify(RawDelivery(body, signature, self._now_ms(), headers))
            self._heard(verified.key_id, headers, verified.received_at_ms)
            if self._tracing is not None:
                trace = self._tracing.request(headers)
                verified.traceparent = trace.traceparent
            self._intake.accept(verified, answered)
        except SignatureError as refused:
            reply(self._refused(refused.reason))
        except Exception as error:  # noqa: BLE001 - our own faults answer 503, not 500
            _log.error("event.failed", error=type(error).__name__)
            said = self._refused("internal")
            if trace is not None:
                trace.ended(said.status, "refused", None, "internal")
            reply(said)

    def _refused(self, reason: str, *, close: bool = False) -> Reply:
        self._endpoint_log.refused(reason)
        return refusal(reason, close=close)

    async def _refuse_unread(self, reason: str, receive: Receive, send: Send) -> None:
        """Refuse and close the connection, since the rest of the body is not read."""
        await send(_start(self._refused(reason, close=True)))
        await send(_MORE)
        await self._bodies.discard(receive)
        await send(_END)


_END: Final[Message] = {"type": "http.response.body", "body": b"", "more_body": False}
_MORE: Final[Message] = {"type": "http.response.body", "body": b"", "more_body": True}


@lru_cache(maxsize=64)
def _start(reply: Reply) -> Message:
    return {"type": "http.response.start", "status": reply.status, "headers": list(reply.headers)}


_USUAL_TYPES: Final = frozenset((b"application/json", b"application/json; charset=utf-8"))


def _is_json(content_type: bytes) -> bool:
    """Accept any JSON type with any parameters: AMPECO does not document which one it sends."""
    media_type = content_type.split(b";", 1)[0].strip().lower()
    return media_type in (b"", b"application/json", b"text/json") or media_type.endswith(b"+json")
