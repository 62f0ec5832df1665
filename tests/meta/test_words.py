"""Plain English: the words that it does without are rare in everything that people read."""

from pathlib import Path

import pytest

from tests.meta import words
from tests.meta.repository import ROOT


def test_poor_words_are_rare() -> None:
    """`python -m tests.meta.words` names the worst files; with a file's name it shows every place in it."""
    found = words.rooms(ROOT)
    everything = words.total(one for files in found.values() for one in files.values())
    assert everything.words > 50_000
    assert everything.per_thousand < words.LIMIT, words.report(found, worst=20)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", '"""Asks whoever is there."""\n'),
        ("a.py", "x = 1  # nobody reads it\n"),
        ("a.py", 'X = 1\n"""Told once."""\n'),
        ("a.py", 'def f():\n    """Likewise."""\n'),
        ("commands/a.py", 'print("beside the file")\n'),
        ("commands/a.py", 'print(f"mend {1} file")\n'),
        ("a.md", "Somebody's file.\n\nIt is made anew.\n"),
        ("a.lua", "return 1 -- hardly\n"),
        ("Makefile", "# amid\n"),
    ],
)
def test_poor_words_are_found(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert words.count(path, tmp_path).poor == 1
    assert list(words.own_files(tmp_path)) == [path]


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.py", 'x = "nobody is here"\n'), ("a.md", "```\nnobody\n```\n"), ("a.py", '"""Untold mending."""\n')],
)
def test_code_and_other_words_are_not_counted(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert words.count(path, tmp_path).poor == 0


@pytest.mark.parametrize("name", [".venv/a.py", "build/a.py", "x.egg-info/a.md", "a.json", "a.lock"])
def test_files_of_others_are_not_counted(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("# nobody\n")
    assert list(words.own_files(tmp_path)) == []
