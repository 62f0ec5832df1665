"""The tables in the documents that are made from the code, between `<!-- generated: NAME -->` and `<!-- end -->`.

`python -m tests.meta.generated` (`make generate`) rewrites them; `make check` only compares.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.meta.repository import ROOT

_MARK = re.compile(r"^<!-- (?:generated: (?P<name>\S+)|(?P<end>end)) -->\n", re.MULTILINE)


def settings() -> str:
    """Every AWR_ setting."""
    from receiver.settings import markdown_table

    return markdown_table()


TABLES: Mapping[str, Callable[[], str]] = {"settings": settings}


def documents() -> list[Path]:
    """Every document for people: at the top of the repository and in its rooms."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/**/README.md")])


def names(text: str) -> list[str]:
    """The tables a document asks for."""
    return [name for name, _, _ in _places(text)]


def rewritten(text: str, tables: Mapping[str, Callable[[], str]] = TABLES) -> str:
    """The document with every table as the code has it now.

    Raises:
        ValueError: a mark without its partner, or of a table nobody makes.
    """
    pieces, last = [], 0
    for name, start, stop in _places(text):
        if name not in tables:
            raise ValueError(f"no table is called {name}; there are {', '.join(sorted(tables))}")
        pieces += [text[last:start], "\n", tables[name]().strip("\n"), "\n\n"]
        last = stop
    return "".join([*pieces, text[last:]])


def _places(text: str) -> Iterator[tuple[str, int, int]]:
    open_mark: re.Match[str] | None = None
    for mark in _MARK.finditer(text):
        if mark["end"] is not None and open_mark is not None:
            yield open_mark["name"], open_mark.end(), mark.start()
            open_mark = None
        elif mark["end"] is None and open_mark is None:
            open_mark = mark
        else:
            raise ValueError(f"the mark {mark[0].strip()} has no partner")
    if open_mark is not None:
        raise ValueError(f"the mark {open_mark[0].strip()} has no <!-- end -->")


def main() -> None:
    """Rewrite what is out of date and say so."""
    for path in documents():
        text = path.read_text()
        now = rewritten(text)
        if now != text:
            path.write_text(now)
            print(f"rewrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
