"""Rows of the table -> a class per noun in `ampeco/resources/`, composed of mixins, and the types of their bodies.

Names are those of the rows, with `_` for `-`: `resources.id-tags.create` is `client.resources.id_tags.create`.
"""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ampeco.generator.body_types import BodyTypes, singular
from ampeco.generator.facts import GENERATED, PACKAGE, formatted
from ampeco.generator.nouns import Noun, Nouns, all_nouns, described_body, ids_of, writes
from ampeco.generator.operations import Row
from ampeco.generator.twins import synchronous

TARGET = PACKAGE / "resources"
_WIDTH = 100
_MIXINS = {"list": "Lister", "read": "Reader", "create": "Creator", "update": "Updater", "delete": "Deleter"}
_HEAD = '''# {generated}
"""AMPECO's resources and logs for async code: a class per noun; what its methods do is in its mixins.

What filters, includes and versions mean, and how answers are typed, is in `ampeco/README.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from ampeco import calls
from ampeco.async_endpoints import AsyncChild, AsyncNoun
from ampeco.calls import Call
from ampeco.operations import Id
from ampeco.resources import async_mixins
from ampeco.resources.async_mixins import {mixins}

if TYPE_CHECKING:
    from ampeco.models import objects
    from ampeco.resources import bodies

{versions}
'''


@dataclass(frozen=True, slots=True)
class Group:
    """Versions of an endpoint in which the same is answered and written.

    Attributes:
        body: type of what is written, "" where nothing is.
    """

    answer: str
    body: str
    versions: tuple[str, ...]


def outputs() -> dict[Path, str]:
    """Both modules, and the one with the types of their bodies."""
    types = BodyTypes(
        "Bodies of the writes of resources; their keys are spelled as AMPECO spells them.", ids=False
    )
    text = formatted(TARGET / "asynchronous.py", _Module(types).text())
    made = {"asynchronous": text, "synchronous": synchronous(text), "bodies": types.module()}
    return {TARGET / f"{name}.py": formatted(TARGET / f"{name}.py", text) for name, text in made.items()}


class _Module:
    """The async module, built class by class, inner nouns first."""

    def __init__(self, types: BodyTypes) -> None:
        self._types = types
        self._mixins: set[str] = set()
        self._versions: set[tuple[str, ...]] = set()

    def text(self) -> str:
        nouns = all_nouns()
        classes = [self._class(noun, nouns) for noun in sorted(nouns, key=lambda noun: (-len(noun), noun))]
        aliases = [
            f"{_alias(versions)} = Literal[{', '.join(map(_quoted, versions))}]"
            for versions in sorted(self._versions)
        ]
        head = _HEAD.format(
            generated=GENERATED,
            mixins=", ".join(sorted(f"Async{name}" for name in self._mixins)),
            versions="\n".join(aliases),
        )
        return "\n\n".join([head, *classes])

    def _class(self, noun: Noun, nouns: Nouns) -> str:
        children = [other for other in sorted(nouns) if other[:-1] == noun]
        verbs = nouns[noun]
        if clash := {child[-1] for child in children} & verbs.keys():
            raise ValueError(f"{noun} has both a noun and a verb named {clash}")
        groups = {verb: self._groups(noun, verb, verbs[verb]) for verb in sorted(verbs)}
        odd = [verb for verb in groups if verb not in _MIXINS]
        parts = [] if len(noun) > 1 else [f"_name = {_quoted(noun[0])}"]
        parts += [f"{_python(child[-1])} = AsyncChild({_class_name(child)})" for child in children]
        parts += [self._odd_method(verb, verbs[verb], groups[verb]) for verb in odd]
        bases = list(self._bases(verbs, {verb: groups[verb] for verb in groups if verb in _MIXINS}))
        body = textwrap.indent("\n".join([f'"""{_docstring(noun, verbs)}"""\n', *parts]), "    ")
        return f"class {_class_name(noun)}({', '.join(bases) or 'AsyncNoun'}):\n{body}"

    def _bases(self, verbs: dict[str, list[Row]], groups: dict[str, list[Group]]) -> Iterator[str]:
        """The mixins of a noun: a composed one where it fits, else one per verb."""
        ids = {verb: len(ids_of(verbs[verb][0])) for verb in groups}
        all_groups = [group for verb in groups for group in groups[verb]]
        alike = len(all_groups) == len(groups) and len({group.versions for group in all_groups}) == 1
        alike = alike and len({groups[verb][0].answer for verb in groups if verb != "delete"}) == 1
        if alike and ids.keys() in ({"list", "read"}, _MIXINS.keys()) and ids["read"] == ids["list"] + 1:
            bodies = [groups[verb][0].body for verb in ("create", "update") if verb in groups]
            name = "Records" if bodies else "Archive"
            arguments = [groups["read"][0].answer, *bodies, self._alias(groups["read"][0].versions)]
            yield self._mixin(name, [*arguments, *["Id"] * ids["list"]])
            return
        for verb, name in _MIXINS.items():
            if verb in groups:
                arguments = [argument for group in groups[verb] for argument in self._arguments(group)]
                prefix = "Versioned" if len(groups[verb]) > 1 else ""
                yield self._mixin(prefix + name, [*arguments, *["Id"] * ids[verb]])

    def _arguments(self, group: Group) -> Iterator[str]:
        yield from filter(None, [group.answer, group.body])
        yield self._alias(group.versions)

    def _mixin(self, name: str, arguments: list[str]) -> str:
        self._mixins.add(name)
        return f"Async{name}[{', '.join(arguments)}]"

    def _alias(self, versions: tuple[str, ...]) -> str:
        self._versions.add(versions)
        return _alias(versions)

    def _groups(self, noun: Noun, verb: str, versions: list[Row]) -> list[Group]:
        """Versions of one shape, those with the usual one first."""
        shapes: dict[tuple[str, str], list[str]] = {}
        for row in versions:
            answer = "" if row["method"] == "DELETE" else _answer(row)
            body = self._body(noun, verb, row, versions) if writes(row) else ""
            shapes.setdefault((answer, body), []).append(row["version"])
        made = [
            Group(answer, body, tuple(sorted(found, reverse=True)))
            for (answer, body), found in shapes.items()
        ]
        if len(made) > 2:
            raise ValueError(f"{'.'.join(noun)}.{verb} has more than two shapes")
        return made

    def _body(self, noun: Noun, verb: str, row: Row, versions: list[Row]) -> str:
        """Type of a body. Where the contract does not know the version, the type of the next one that it knows."""
        described, usual = (described_body(each, versions) for each in (row, versions[0]))
        if described is None:
            return "calls.Body"
        name = _noun_name(noun) + _pascal(verb)
        if usual is None or described["fields"] != usual["fields"]:
            name += "V" + row["version"].removesuffix(".0").replace(".", "_")
        return _quoted(
            "bodies." + self._types.body({**described, "name": row["name"]}, name, _noun_name(noun))
        )

    def _odd_method(self, verb: str, versions: list[Row], groups: list[Group]) -> str:
        """A method that no mixin has."""
        (group,) = groups
        usual = versions[0]
        given = ids_of(usual)
        ids = [f"{name}: Id" for name in given]
        named = f"({', '.join(given)}{',' * (len(given) == 1)})"
        version = f"version: {self._alias(group.versions)} | None = None"
        returns = _unquoted(group.answer)
        if writes(usual):
            arguments = [*ids, f"body: {_unquoted(group.body)} | calls.Free", "*", version]
            call = f'calls.write(f"{{self._name}}.{verb}", version, {named}, body)'
        else:
            reading = ("include: Sequence[str] = ()", f"query: async_mixins.Query = None, {version}")
            arguments = [*ids, "*", *reading]
            call = f'calls.read(f"{{self._name}}.{verb}", version, {named}, include, query)'
        return f'''
async def {_python(verb)}(self, {", ".join(arguments)}) -> {returns}:
    """{usual["title"]}."""
    call: Call[{returns}] = {call}
    return await self._run(call)
'''


def _class_name(noun: Noun) -> str:
    words = noun[1:] if len(noun) > 1 else noun
    logs = "Log" if noun[0] == "logs" and len(noun) > 1 else ""
    return "Async" + "".join(map(_pascal, words)) + logs


def _noun_name(noun: Noun) -> str:
    """`("resources", "users", "notes")` -> `UserNote`."""
    return "".join(_pascal(singular(word)) for word in noun[1:])


def _answer(row: Row) -> str:
    """Type of the object that is answered; where it may as well be a list, it is not said."""
    if row["answer"]:
        return _quoted(f"objects.{row['answer']}")
    one_word_for_all = not row["path"].endswith("}") and row["name"].rsplit(".", 1)[1] not in (
        "list",
        "create",
    )
    return "Any" if one_word_for_all else "dict[str, Any]"


def _docstring(noun: Noun, verbs: dict[str, list[Row]]) -> str:
    """The versions of each verb, once where all verbs have the same."""
    if len(noun) == 1:
        return f"AMPECO's {noun[0]}, by noun."
    says = f"AMPECO's `{'.'.join(noun[1:])}`"
    said = {verb: ", ".join(map(_version, versions)) for verb, versions in sorted(verbs.items())}
    if not said:
        return f"{says}, by noun."
    listed = ", ".join(sorted(set(said.values())))
    if len(set(said.values())) > 1:
        listed = "; ".join(f"{_python(verb)} {versions}" for verb, versions in said.items())
    text = f"{says}. Versions: {listed}."
    if len(text) > _WIDTH:
        text = f"{says}.\n\n{textwrap.fill(f'Versions: {listed}.', _WIDTH)}\n"
    if all(row["deprecated"] for versions in verbs.values() for row in versions):
        text += "\n\nDeprecated by AMPECO.\n"
    return text


def _version(row: Row) -> str:
    return f"{row['version']}{' (deprecated)' * row['deprecated']}"


def _alias(versions: Iterable[str]) -> str:
    return "V" + "_".join(version.replace(".", "") for version in versions)


def _pascal(word: str) -> str:
    return word.title().replace("-", "")


def _python(word: str) -> str:
    return word.replace("-", "_")


def _quoted(text: str) -> str:
    return f'"{text}"'


def _unquoted(text: str) -> str:
    return text.strip('"')
