"""What commands print: aligned, escaped, valid JSON, on any terminal."""

import json
import os
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commands.output import json_text, print_fields, print_table
from eventlog.text import CELL_COLUMNS, CUT

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
ANY_JSON = st.recursive(
    ANY_TEXT | st.integers() | st.none(), lambda inner: st.dictionaries(ANY_TEXT, inner, max_size=3)
)


@settings(max_examples=50)
@given(ANY_JSON)
def test_json_is_valid_and_harmless(document: object) -> None:
    text = json_text(document)
    assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")]
    text.encode()
    again = json.loads(text)
    json.dumps(again, ensure_ascii=False).encode()  # no half of a surrogate pair is left


def test_json_keeps_what_can_be_kept() -> None:
    document = {"k\x1b": "漢é\x9b\u202e\x7f\U000e0041\\"}
    assert json.loads(json_text(document)) == document
    assert json_text("é\x7f") == '"é\\u007f"'
    assert json.loads(json_text("a\ud83d")) == r"a\ud83d"


def test_a_table_is_aligned_and_no_cell_is_wide(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", "b"), [("漢字", 1), ("x\ny", 2), ("z" * 1_000, 3), (None, "")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[2] == r"x\ny".ljust(CELL_COLUMNS) + "  2"
    assert lines[1] == "漢字" + " " * (CELL_COLUMNS - 4) + "  1"
    assert lines[3].startswith("z" * (CELL_COLUMNS - 1) + CUT)
    assert lines[4] == "-".ljust(CELL_COLUMNS) + "  -"


def test_a_list_of_lines_forges_no_field(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields({"trace": ["a", "b\nreason: forged"], "reason": "real\nx: y", "log": []})
    assert capsys.readouterr().out.splitlines() == [
        "trace:", "    a", r"    b\nreason: forged", r"reason:       real\nx: y", "log:          -",
    ]  # fmt: skip


def test_an_encoding_without_the_character_ends_no_command() -> None:
    code = r"from commands.output import *; print_table(['\xe9'], [['\u6f22']]); print_json('\xe9\u6f22')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1:strict", "PYTHONUTF8": "0"},
    )
    assert done.stdout.split(b"\n") == [b"\xe9", rb"\u6f22", rb'"\u00e9\u6f22"', b""]
