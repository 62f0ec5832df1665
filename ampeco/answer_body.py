"""Collects the body of an answer piece by piece, decoded, up to a limit.

Decompression is counted while it streams: 300 kB of gzip may become 650 MiB.
"""

import zlib

import httpx2

LIMIT_BYTES = 16 * 1024 * 1024
ACCEPTED = "gzip, deflate"
"""Value of `Accept-Encoding`. Every other encoding of an answer is refused."""

_PLAIN = ("", "identity")
_COMPRESSED = ("gzip", "x-gzip", "deflate")
_EITHER_FORMAT = 32 + zlib.MAX_WBITS  # the header says whether it is gzip or zlib


class AnswerBody:
    """The body of one answer.

    Args:
        encoding: the value of `Content-Encoding`.

    Attributes:
        fault: why the body cannot be read; None while it can.
    """

    def __init__(self, encoding: str = "", *, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._received = 0
        self._kept = bytearray()
        name = encoding.strip().lower()
        self._decoder = zlib.decompressobj(_EITHER_FORMAT) if name in _COMPRESSED else None
        self.fault = None if name in _PLAIN or self._decoder else "the answer has an unknown Content-Encoding"

    @classmethod
    def of(cls, response: httpx2.Response) -> "AnswerBody":
        """The body of a response; whole if something has read it already, as transports of tests do."""
        if not response.is_stream_consumed:
            return cls(response.headers.get("content-encoding", ""))
        body = cls()
        body.add(response.content)
        return body

    def add(self, piece: bytes) -> bool:
        """Add bytes as they were received; return whether to go on reading."""
        if self.fault is None:
            self._received += len(piece)
            self._kept += self._decoded(piece)
            if max(len(self._kept), self._received) > self._limit:
                self.fault = f"the answer is larger than {self._limit >> 20} MiB"
        return self.fault is None

    def whole(self) -> bytes:
        """Return the decoded body; empty if it cannot be read, and then `fault` says why."""
        if self.fault is None and self._decoder is not None and self._received and not self._decoder.eof:
            self.fault = "the answer is compressed and incomplete"
        return b"" if self.fault else bytes(self._kept)

    def _decoded(self, piece: bytes) -> bytes:
        if self._decoder is None:
            return piece
        try:
            return self._decoder.decompress(piece, self._limit + 1 - len(self._kept))
        except zlib.error:
            self.fault = "the answer is compressed and damaged"
            return b""
