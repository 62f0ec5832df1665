"""The documents tell the truth: their blocks run, their tables are what the code says, their links lead somewhere."""

import re
from pathlib import Path

import pytest

from tests.meta import documents, generated
from tests.meta.repository import ROOT

EVERY = [pytest.param(path, id=str(path.relative_to(ROOT))) for path in generated.documents()]


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "handlers/README.md", "deploy/README.md"])
def test_there_is_a_document_for_every_reader(name: str) -> None:
    assert (ROOT / name).is_file()
    assert (ROOT / name).read_text().startswith("# ")


@pytest.mark.parametrize("path", EVERY)
def test_blocks_run(path: Path, tmp_path: Path) -> None:
    documents.run(path, tmp_path)


@pytest.mark.parametrize("path", EVERY)
def test_tables_are_what_the_code_says(path: Path) -> None:
    text = path.read_text()
    assert text == generated.rewritten(text), f"{path.name} is out of date: run `make generate`"


def test_every_table_stands_somewhere() -> None:
    placed = {name for path in generated.documents() for name in generated.names(path.read_text())}
    assert placed == set(generated.TABLES)


@pytest.mark.parametrize("path", EVERY)
def test_links_lead_to_files(path: Path) -> None:
    prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", prose)]
    files = [target for target in targets if target and not re.match(r"[a-z]+:", target)]
    assert [target for target in files if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", EVERY)
def test_prose_is_wrapped_at_100_columns(path: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    lines = [line for line in prose.splitlines() if not re.match(r"[|#!<]|    ", line)]
    assert [line for line in lines if len(line) > 100 and " " in line.strip()] == []


def test_pictures_are_described_shown_and_small() -> None:
    shown = re.findall(r"!\[[^\]]+\]\((console/pictures/[^)]+)\)", (ROOT / "README.md").read_text())
    pictures = list((ROOT / "console" / "pictures").iterdir())
    assert sorted(shown) == sorted(str(picture.relative_to(ROOT)) for picture in pictures)
    assert max(picture.stat().st_size for picture in pictures) <= 150_000


def _document(folder: Path, text: str) -> Path:
    path = folder / "README.md"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```python\nassert 1 == 2, 'python ran'\n```\n", "python ran"),
        ("```bash\nfalse\ntrue\n```\n", "exit status 1"),
        ("```console\n$ true\n$ exit 3\n$ true\n```\n", "ended the shell"),
        ("```console\n$ (exit 3)\n```\n", "exit status 3"),
        ("```console\n$ echo one\ntwo\n```\n", "shown:\ntwo\nprinted:\none"),
        ("```console\n$ seq 3\n1\n...\n4\n```\n", "shown:"),
        ("```console\n$ ampeco-receiver --no-such-flag\n```\n", "--no-such-flag"),
        ("```sh\ntrue\n```\n", "language 'sh'"),
        ("```\ntrue\n```\n", "language ''"),
        ("```console\ntrue\n```\n", "starts with a line"),
        ("<!-- not executed: -->\n```bash\nfalse\n```\n", "exit status 1"),
        ("<!-- not executed: too far away -->\n\nSome text.\n\n```bash\nfalse\n```\n", "exit status 1"),
    ],
)
def test_a_block_that_does_not_hold_is_told(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=re.escape(said)):
        documents.run(_document(tmp_path, text), tmp_path)


def test_blocks_that_hold(tmp_path: Path) -> None:
    text = """
```python
from dataclasses import dataclass
@dataclass
class Point:
    x: "int"
```
```python
assert Point(1).x == 1
```
```bash
echo 'kept' > note
```
```console
$ WORD=two; cat note
kept
$ echo one \\
>   $WORD
one two
$ seq 5
1
...
5
$ python -c 'import sys; print(sys.prefix)'
...
$ env | grep -c ^AWR_ || echo none of ours
0
none of ours
```
<!-- not executed: it would fail -->
```console
$ false
```
```yaml
shown: only
```
"""
    assert documents.run(_document(tmp_path, text), tmp_path) == 4


TABLE = {"fruit": lambda: "| name |\n|---|\n| apple |\n"}


def test_a_table_is_rewritten_in_place() -> None:
    text = "a\n<!-- generated: fruit -->\nold\n<!-- end -->\nb\n"
    now = generated.rewritten(text, TABLE)
    assert now == "a\n<!-- generated: fruit -->\n\n| name |\n|---|\n| apple |\n\n<!-- end -->\nb\n"
    assert generated.rewritten(now, TABLE) == now


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!-- generated: fruit -->\n", "has no <!-- end -->"),
        ("<!-- end -->\n", "has no partner"),
        ("<!-- generated: fruit -->\n<!-- generated: fruit -->\n<!-- end -->\n", "has no partner"),
        ("<!-- generated: stone -->\n<!-- end -->\n", "no table is called stone"),
    ],
)
def test_marks_that_make_no_sense_are_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        generated.rewritten(text, TABLE)
