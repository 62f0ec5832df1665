"""Any text is shown by a page, and changes nothing else of it."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError

from commands.console_parts import wording
from console import markup
from console.links import Link, link_of

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202eevil\u200b\"'\n"


def printed(source: str, **values: object) -> str:
    return markup.environment(span=wording().span).from_string(source).render(**values)


@pytest.mark.parametrize(
    "source",
    [
        "{{ x }}",
        "{{ x|short(90) }}",
        "{{ x|lines }}",
        "{{ x|commands }}",
        "{{ x|badge }}",
        '<a href="{{ x }}">',
    ],
)
def test_a_hostile_text_is_escaped_and_visible(source: str) -> None:
    shown = printed(source, x=HOSTILE)
    assert "<script" not in shown
    for character in ("\x1b", "\u202e", "\u200b", "\"'"):
        assert character not in shown
    assert "script" in shown


def test_a_long_text_is_cut() -> None:
    assert len(printed("{{ x }}", x="x" * 100_000)) <= 10_000
    assert len(printed("{{ x|short(20) }}", x="x" * 100_000)) == 20
    assert len(printed("{{ x|lines }}", x="x\n" * 100_000)) < 70_000


@pytest.mark.parametrize(
    "text", ['"' * 100_000, '"\n' * 100_000, '"\U0001f600' * 100_000, "é\u0301" * 100_000]
)
def test_the_lines_of_a_text_are_bounded_as_a_page_has_them(text: str) -> None:
    shown = printed("{{ x|lines }}", x=text)
    assert len(shown.encode()) < 51_000
    assert shown.endswith("… (cut)")
    assert shown.count("&#34;") > 900 or "é" in shown


@pytest.mark.parametrize(
    ("line", "is_cut"),
    [
        ("x" * 3_000, False),
        ("x" * 3_001, True),
        ("\u65e5" * 1_500, False),  # of two columns each
        ("\u65e5" * 1_501, True),
        ("\u200b" * 600, True),  # an escape of six columns each
        ("x" * 100 + "…", False),
    ],
)
def test_a_line_that_is_cut_is_said_to_be(line: str, is_cut: bool) -> None:
    assert markup.first_lines(line)[1] == is_cut


def test_a_name_that_is_missing_is_an_error_and_no_gap() -> None:
    with pytest.raises(UndefinedError):
        printed("{{ y }}")


def test_times_have_utc_as_title_and_odd_ones_are_shown() -> None:
    shown = printed("{{ x|time }}", x=1_764_000_000_000)
    assert 'datetime="2025-11-24T16:00:00.000Z" title="2025-11-24T16:00:00.000Z"' in shown
    assert printed("{{ x|time }}", x=None) == ""
    assert "ms" in printed("{{ x|time }}", x=10**18)


def test_commands_are_code() -> None:
    assert printed("{{ x|commands }}", x="`gaps list` & <b>") == "<code>gaps list</code> &amp; &lt;b&gt;"


def test_assets_have_the_digest_of_what_they_hold() -> None:
    digest, _, name = markup.asset_name("console.css").partition("/")
    assert (len(digest), name) == (12, "console.css")
    for missing in ("../README.md", "none.css", "console"):
        with pytest.raises(KeyError):
            markup.asset(missing)


@pytest.mark.parametrize(
    ("sentence", "link"),
    [
        ("acme.mail has 2 dead letters: `dead list --handler acme.mail`", Link("dead", "acme.mail")),
        ("acme.mail is paused: `handlers resume acme.mail` when that is over", Link("handlers/acme.mail")),
        ("in quarantine: 1 body; `quarantine list` shows why", None),
        ("no worker is alive, so nothing is handled: start one", None),
        ("acme.mail-2 has an event that waits: `explain` says why", Link("handlers/acme.mail-2")),
    ],
)
def test_a_sentence_leads_to_the_page_of_its_command_or_handler(sentence: str, link: Link | None) -> None:
    assert link_of(sentence, ["acme.mail", "acme.mail-2"], {"", "dead"}) == link
