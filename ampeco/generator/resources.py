"""Rows of the table -> `ampeco/resources/{asynchronous,synchronous}.py`: a class per noun, a method per endpoint.

Names are those of the rows, with `_` for `-`: `resources.id-tags.create` is `client.resources.id_tags.create`.
"""

import re
import textwrap
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from ampeco.generator import operations
from ampeco.generator.classes import snake
from ampeco.generator.facts import GENERATED, PACKAGE, formatted
from ampeco.generator.operations import Row

TARGET = PACKAGE / "resources"
ROOTS = {"resources": "Resources", "logs": "Logs"}

Noun = tuple[str, ...]

_NARROWING = "filters: Mapping[str, Any] | None = None, include: Sequence[str] = ()"
_QUERY = "query: Mapping[str, Any] | None = None"
_HEAD = '''# {generated}
"""AMPECO's resources and logs for code that is {style}: each method is one endpoint in all its versions.

What filters, includes and versions mean, and how answers are typed, is told in `ampeco/README.md`.
"""

from __future__ import annotations

from collections.abc import {iterator}, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, overload

from ampeco.calls import Call
from ampeco.listing import PER_PAGE
from ampeco.operations import Id
from ampeco.resources import requests
from ampeco.resources.nouns import {base}
from ampeco.resources.requests import Body

if TYPE_CHECKING:
    from ampeco.models.objects import ({models})
'''


@dataclass(frozen=True, slots=True)
class Style:
    """How one of the two modules is spelled."""

    module: str
    says: str
    prefix: str
    iterator: str
    define: str
    wait: str


STYLES = (
    Style("asynchronous", "async", "Async", "AsyncIterator", "async def", "await "),
    Style("synchronous", "not async", "", "Iterator", "def", ""),
)


def outputs() -> dict[Path, str]:
    """Both modules."""
    return {TARGET / f"{style.module}.py": _module(style) for style in STYLES}


def _module(style: Style) -> str:
    nouns = _nouns()
    models = sorted({str(row["answer"]) for row in _rows() if row["answer"]}, key=_import_order)
    head = _HEAD.format(
        generated=GENERATED,
        style=style.says,
        iterator=style.iterator,
        base=f"{style.prefix}Noun",
        models=", ".join(models),
    )
    classes = [_class(style, noun, nouns) for noun in sorted(nouns)]
    return formatted(TARGET / f"{style.module}.py", "\n\n".join([head, *classes]))


def _import_order(name: str) -> tuple[bool, str]:
    return not name.isupper(), name


def _rows() -> list[Row]:
    return [row for row in operations.rows() if row["name"].split(".")[0] in ROOTS]


def _nouns() -> dict[Noun, dict[str, list[Row]]]:
    """Noun -> verb -> its versions, the usual one first; nouns without endpoints of their own included."""
    found: dict[Noun, dict[str, list[Row]]] = {}
    for row in sorted(_rows(), key=_rank, reverse=True):
        *noun, verb = row["name"].split(".")
        for length in range(1, len(noun)):
            found.setdefault(tuple(noun[:length]), {})
        found.setdefault(tuple(noun), {}).setdefault(verb, []).append(row)
    return found


def _rank(row: Row) -> tuple[bool, list[int]]:
    return not row["deprecated"], [int(part) for part in row["version"].split(".")]


def _class(style: Style, noun: Noun, nouns: dict[Noun, dict[str, list[Row]]]) -> str:
    children = [other for other in sorted(nouns) if other[:-1] == noun]
    verbs = nouns[noun]
    if clash := {child[-1] for child in children} & verbs.keys():
        raise ValueError(f"{noun} has both a noun and a verb named {clash}")
    parts = [_attribute(style, child) for child in children]
    parts += [_method(style, verb, verbs[verb]) for verb in sorted(verbs)]
    says = f"AMPECO's `{'.'.join(noun[1:])}`" if len(noun) > 1 else f"AMPECO's {noun[0]}, by noun"
    body = textwrap.indent("\n\n".join([f'"""{says}."""', *parts]), "    ")
    return f"class {_class_name(style, noun)}({style.prefix}Noun):\n{body}"


def _class_name(style: Style, noun: Noun) -> str:
    words = noun[1:] if len(noun) > 1 else noun
    logs = "Log" if noun[0] == "logs" and len(noun) > 1 else ""
    return style.prefix + "".join(part.title().replace("-", "") for part in words) + logs


def _attribute(style: Style, noun: Noun) -> str:
    name = _class_name(style, noun)
    return (
        f"@cached_property\ndef {_python(noun[-1])}(self) -> {name}:\n"
        f'    """`{".".join(noun)}`"""\n    return {name}(self._run, self._walk)'
    )


def _method(style: Style, verb: str, versions: list[Row]) -> str:
    if len({len(_ids(row)) for row in versions}) != 1:
        raise ValueError(f"{versions[0]['name']} takes different ids in different versions")
    answers: dict[str, list[Row]] = defaultdict(list)
    for row in versions:
        answers[_answer(row)].append(row)
    parts = []
    if len(answers) > 1:
        parts = [
            f"@overload\n{_signature(style, verb, versions[0], rows, [answer])} ..."
            for answer, rows in answers.items()
        ]
    statements = f'"""{_docstring(versions)}"""\n{_statements(style, verb, versions[0], list(answers))}'
    signature = _signature(style, verb, versions[0], versions, list(answers))
    return "\n".join([*parts, signature, textwrap.indent(statements, "    ")])


def _signature(style: Style, verb: str, usual: Row, versions: list[Row], answers: list[str]) -> str:
    """Up to the colon; `version` may be left out where the usual one is among them."""
    literal = f"Literal[{', '.join(_quoted(row['version']) for row in versions)}]"
    version = f"version: {literal} | None = None" if usual in versions else f"version: {literal}"
    ids = [f"{name}: Id" for name in _ids(usual)]
    body = ["body: Body"] if _writes(usual) else []
    named = {"list": [_NARROWING, _QUERY, "per_page: int = PER_PAGE"]}.get(
        verb, ["include: Sequence[str] = ()", _QUERY] if usual["method"] == "GET" else []
    )
    arguments = ", ".join(["self", *ids, *body, "*", *named, version])
    define = "def" if verb == "list" else style.define
    return f"{define} {_python(verb)}({arguments}) -> {_returns(style, verb, usual, answers)}:"


def _statements(style: Style, verb: str, usual: Row, answers: list[str]) -> str:
    given = ", ".join([_quoted(usual["name"]), "version", *_ids(usual)])
    if verb == "list":
        asked = "filters=filters, include=include, query=query, per_page=per_page"
        return f"return self._walk(requests.listing({given}, {asked}))"
    if usual["method"] == "DELETE":
        return f"{style.wait}self._run(requests.delete({given}))"
    call = f"requests.write({given}, body=body)"
    if usual["method"] == "GET":
        call = f"requests.read({given}, include=include, query=query)"
    return f"call: Call[{_returns(style, verb, usual, answers)}] = {call}\nreturn {style.wait}self._run(call)"


def _answer(row: Row) -> str:
    """Type of the object that is answered; where it may as well be a list, it is not said."""
    if row["answer"]:
        return str(row["answer"])
    one_word_for_all = not row["path"].endswith("}") and row["name"].rsplit(".", 1)[1] not in (
        "list",
        "create",
    )
    return "Any" if one_word_for_all else "dict[str, Any]"


def _returns(style: Style, verb: str, usual: Row, answers: list[str]) -> str:
    if verb == "list":
        return " | ".join(f"{style.iterator}[{answer}]" for answer in answers)
    if usual["method"] == "DELETE":
        return "None"
    if "Any" in answers:
        return "Any"
    return " | ".join([*answers, "None"] if _writes(usual) else answers)


def _docstring(versions: list[Row]) -> str:
    usual = versions[0]
    said = [f"{version['version']}{' (deprecated)' * version['deprecated']}" for version in versions]
    known = f"version{'s' * (len(versions) > 1)} {', '.join(said)}"
    lines = [f"{usual['title']}: {known}."]
    if usual["deprecated"]:
        lines += ["", "Deprecated by AMPECO."]
    if not usual["idempotent"]:
        lines += ["", "Not repeated by itself: a second equal call may do it a second time."]
    return "\n".join(lines) + "\n" * (len(lines) > 1)


def _ids(row: Row) -> list[str]:
    return [snake(name) for name in re.findall(r"\{(\w+)\}", row["path"])]


def _writes(row: Row) -> bool:
    return row["method"] in ("POST", "PUT", "PATCH")


def _python(word: str) -> str:
    return word.replace("-", "_")


def _quoted(text: str) -> str:
    return f'"{text}"'
