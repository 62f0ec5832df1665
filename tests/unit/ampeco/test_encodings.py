"""Bodies that are no plain UTF-8: what is read, how it is named, and what unpacking may cost."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampeco.encodings import MOST_BYTES, decoded, plain, plain_or_same, plain_size
from ampeco.errors import PayloadError
from ampeco.notifications import parse, read
from receiver.settings import Settings

TEXT = '{"notification":"x.changed","name":"é 漢 😀","session":{"id":7}}'
CHARACTERS = ("", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")


def encoded(text: str, encoding: str) -> bytes:
    """Encode a text, by the name of an encoding."""
    first, _, rest = encoding.partition("+")
    characters = rest if first == "gzip" else encoding
    body = text.encode(characters or "utf-8")
    return gzip.compress(body) if first == "gzip" else body


@pytest.mark.parametrize("characters", CHARACTERS)
@pytest.mark.parametrize("packed", [False, True])
def test_each_encoding_is_found_named_and_undone(characters: str, packed: bool) -> None:
    name = "+".join(filter(None, ("gzip" if packed else "", characters)))
    body = encoded(TEXT, name)
    assert decoded(body) == (TEXT.encode(), name)
    assert plain(body, name) == TEXT.encode()
    assert read(body, name) == read(TEXT.encode())
    found = parse(body, encoding=name)
    assert (found.type, found.key) == ("x.changed", "session:7")


def test_big_endian_with_a_mark_is_utf_16_too() -> None:
    body = b"\xfe\xff" + TEXT.encode("utf-16-be")
    assert decoded(body) == (TEXT.encode(), "utf-16")
    assert plain(body, "utf-16") == TEXT.encode()


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_a_body_is_unpacked_up_to_the_limit_and_not_a_byte_further(size: int) -> None:
    body = gzip.compress(b" " * size)
    assert decoded(body, most_bytes=size)[0] == b" " * size
    with pytest.raises(PayloadError, match="unpacked-too-large"):
        decoded(gzip.compress(b" " * (size + 1)), most_bytes=size)


def test_a_small_body_that_unpacks_to_gigabytes_costs_no_memory() -> None:
    packing = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = b"".join(packing.compress(bytes(1 << 20)) for _ in range(256)) + packing.flush()
    tracemalloc.start()
    try:
        with pytest.raises(PayloadError, match="unpacked-too-large"):
            decoded(body, most_bytes=1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_body_that_is_cut_off_or_changed_or_followed_by_something_is_damaged() -> None:
    body = gzip.compress(TEXT.encode())
    for end in range(2, len(body)):
        with pytest.raises(PayloadError, match="gzip-damaged"):
            decoded(body[:end])
    for wrong in (
        body + b"x",
        body + body,
        body[:-1] + bytes([body[-1] ^ 1]),
        body[:30] + b"\xff" + body[31:],
    ):
        with pytest.raises(PayloadError, match="gzip-damaged"):
            decoded(wrong)


def test_text_in_gzip_twice_is_no_json() -> None:
    with pytest.raises(PayloadError, match="not-json"):
        read(decoded(gzip.compress(gzip.compress(TEXT.encode())))[0])


@pytest.mark.parametrize(
    "name", ["br", "gzip+br", "utf-8", "utf-7", "gzip+gzip", "UTF-16", "+", "rot13", "idna"]
)
def test_a_record_with_a_name_of_another_version_is_not_guessed(name: str) -> None:
    with pytest.raises(PayloadError, match="encoding-unknown"):
        plain(gzip.compress(TEXT.encode()) if name.startswith("gzip") else TEXT.encode(), name)


def test_half_a_character_has_the_reason_that_it_has_in_utf_8() -> None:
    with pytest.raises(PayloadError, match="lone-surrogate"):
        decoded('{"a":"\ud800"}'.encode("utf-16-le", "surrogatepass"))


def test_nothing_is_unpacked_beyond_the_largest_limit_that_can_be_set() -> None:
    metadata = Settings.model_fields["max_body_bytes"].metadata
    assert max(rule.le for rule in metadata if hasattr(rule, "le")) == MOST_BYTES


@pytest.mark.parametrize(
    ("body", "size"),
    [
        (b"", 0),
        (b"{}", 2),
        (b"\x1f\x8b", 35_615),
        (gzip.compress(b" " * 5000, mtime=0), 5000),
        (gzip.compress(b"", mtime=0), 20),
    ],
)
def test_the_size_of_a_text_is_what_gzip_states(body: bytes, size: int) -> None:
    assert plain_size(body) == size


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(gzip.compress)))
def test_any_bytes_are_decoded_or_refused_with_the_one_error(body: bytes) -> None:
    try:
        text, name = decoded(body)
    except PayloadError:
        return
    assert plain(body, name) == text


def test_a_body_that_cannot_be_read_is_shown_as_it_is() -> None:
    assert plain_or_same(b"\xff\xfe{\x00", "utf-16") == b"{"
    for encoding in ("gzip", "of-the-future"):
        assert plain_or_same(b"{", encoding) == b"{"
