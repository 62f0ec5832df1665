"""Any text may come in; what goes to Redis is short and valid, and what goes to a terminal is harmless."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog.text import CUT, REASON_CHARS, bounded, columns_of, printable

ANY_TEXT = st.text(st.characters(exclude_categories=())) | st.text(
    st.sampled_from(
        "a\x1b[\x07\r\n\t\x00\x7f\x9b\u200b\u202e\u2066\ufeff\u2028\ud83d\udc00\U000e0041\u0301漢é"
    )
)
HARMFUL = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


@settings(max_examples=50)
@given(ANY_TEXT, st.integers(2, 80))
def test_no_text_does_anything_on_a_terminal_but_show_itself(text: str, columns: int) -> None:
    shown = printable(text, columns)
    assert not [char for char in shown if unicodedata.category(char) in HARMFUL]
    assert columns_of(shown) <= columns
    assert len(shown) <= 4 * columns  # marks without a width are bounded, too
    assert printable(shown, columns) == shown
    shown.encode()


@settings(max_examples=50)
@given(ANY_TEXT, st.integers(8, 2_000))
def test_any_text_becomes_short_and_valid(text: str, most: int) -> None:
    kept = bounded(text, most)
    assert len(kept) <= most
    assert bounded(kept, most) == kept
    if len(text) <= most and text.isascii():
        assert kept == text
    kept.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("session:4711", "session:4711"),
        ("\x1b[2J\x1b]0;title\x07\nforged row", r"\x1b[2J\x1b]0;title\x07\nforged row"),
        ("k\x1b[31m\r\n", r"k\x1b[31m\r\n"),
        ("\x9b31m", r"\x9b31m"),
        ("evil\u202egnp.exe", r"evil\u202egnp.exe"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("no such driver \ud83d", r"no such driver \ud83d"),
        ("a\u3164b\ufe0f", r"a\u3164b\ufe0f"),
        ("Zürich 漢字", "Zürich 漢字"),
    ],
)
def test_escapes_what_is_not_seen(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_counts_wide_characters_as_two_columns() -> None:
    assert columns_of("漢字") == 4
    assert printable("漢字漢字", 7) == "漢字漢" + CUT


def test_a_mark_does_not_join_the_neighbouring_cell() -> None:
    assert printable("\u0301a") == r"\u0301a"
    assert printable("a" + "\u0301" * 5) == "a" + "\u0301" * 3 + r"\u0301" * 2


def test_a_cut_is_seen() -> None:
    assert bounded("x" * 2_000_000) == "x" * (REASON_CHARS - 1) + CUT
    assert printable("x" * 100_000, 10) == "x" * 9 + CUT


def test_runs_nothing_of_a_text_that_an_author_made() -> None:
    class Odd(str):
        def __len__(self) -> int:
            raise RuntimeError

        __str__ = __getitem__ = encode = __len__  # type: ignore[assignment]

    assert type(bounded(Odd("x"))) is str
