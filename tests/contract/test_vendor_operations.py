"""Every operation of the vendor's own document through our client: what is sent, and how answers are read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2

from ampeco.actions.answers import Answer
from ampeco.client import Client
from ampeco.operations import OPERATIONS, Operation
from tests.contract.vendor_bodies import LAX, variants
from tests.contract.vendor_document import Described, Node, needs_the_document, operations, validator
from tests.contract.vendor_reading import fields_of, unlike
from tests.contract.vendor_stand_in import StandIn, body_of, call, described, table

pytestmark = needs_the_document

MOST_OF_A_KIND = 2


def test_every_operation_of_the_document_is_one_of_ours() -> None:
    for each in operations():
        ours = table()[each.method, each.path]
        assert ours.deprecated >= each.deprecated, ours.name  # later indexes deprecate more
        assert len(ours.parameters) == len(each.ids), ours.name
        assert f"/v{ours.version}" in each.path
    published = {address for address, ours in table().items() if ours.published}
    assert published == {(each.method, each.path) for each in operations()}


def test_the_version_that_is_called_is_the_newest_that_the_document_does_not_deprecate() -> None:
    by_name: dict[str, list[tuple[bool, list[int], str]]] = {}
    for each in operations():
        ours = table()[each.method, each.path]
        number = [int(part) for part in ours.version.split(".")]
        by_name.setdefault(ours.name, []).append((not each.deprecated, number, each.path))
    for name, versions in by_name.items():
        assert OPERATIONS[name].path == max(versions)[2], name


def test_every_body_that_the_document_allows_is_sent_as_it_is(client: Client, stand_in: StandIn) -> None:
    sent, faults = 0, Counter[str]()
    for each, ours in described():
        if each.body is None:
            continue
        judge = validator(each.body, without="readOnly")
        for kind, body in _several(each.body, each.path, "readOnly"):
            if kind in LAX:
                continue
            assert [error.message for error in judge.iter_errors(body)] == [], (ours.name, kind)
            stand_in.expect(each, httpx2.Response(min(each.successes)))
            sent += 1
            try:
                call(client, each, body)
            except (TypeError, ValueError) as error:
                faults[f"{ours.name} {ours.version} ({kind}): {error}"] += 1
            else:
                faults[f"{ours.name} {ours.version} ({kind}): {stand_in.bodies}"] += stand_in.bodies != [body]
    assert sent > 1_000
    assert +faults == {}
    assert stand_in.faults == {}


def test_every_answer_that_the_document_allows_is_read(client: Client, stand_in: StandIn) -> None:
    read, faults = 0, Counter[str]()
    for each, ours in described():
        for status, node in each.successes.items():
            for kind, answer in _answers(each, node):
                stand_in.expect(each, _response(status, answer))
                read += 1
                found = call(client, each, body_of(each))
                if node is not None:
                    faults.update(f"{fault} ({kind})" for fault in _unlike(ours, found, answer, node))
    assert read > 3_000
    assert faults == {}
    assert stand_in.faults == {}


def test_each_list_follows_what_the_document_says_leads_to_the_next_page(
    client: Client, stand_in: StandIn
) -> None:
    followed = 0
    for each, ours in described():
        node = each.successes.get(200)
        if not ours.name.endswith(".list") or node is None or "cursor" not in each.query:
            continue
        link = f"https://t.example{each.path}?cursor=two&per_page=100"
        pages = {"data": [], "links": {"next": link}}, {"data": [], "links": {"next": None}}
        stand_in.expect(each, *(_response(200, page) for page in pages))
        assert call(client, each, None) == []
        assert [request.url.params.get("cursor") for request in stand_in.requests][1] == "two", ours.name
        followed += 1
    assert followed > 40
    assert stand_in.faults == {}


def _several(node: Node, seed: str, without: str) -> Iterator[tuple[str, Any]]:
    return variants(node, seed, by_chance=1, without=without, most=MOST_OF_A_KIND)


def _answers(each: Described, node: Node | None) -> Iterator[tuple[str, Any]]:
    if node is None:
        yield "empty", None
        return
    for kind, answer in _several(node, each.path, "writeOnly"):
        if isinstance(answer, dict) or kind != "numbers as text":  # a number alone is one
            yield kind, _tidied(answer)


def _response(status: int, answer: Any) -> httpx2.Response:
    return httpx2.Response(status, content=b"" if answer is None else json.dumps(answer))


def _tidied(answer: Any) -> Any:
    """The last page, and an action that succeeded."""
    if not isinstance(answer, dict):
        return answer
    tidy = answer | ({"success": True} if "success" in answer else {})
    if isinstance(tidy.get("links"), dict):
        tidy["links"] = {**tidy["links"], "next": None}
    if isinstance(tidy.get("meta"), dict):
        ended = {"next_cursor": None, "cursor": None, "current_page": 1, "last_page": 1}
        tidy["meta"] = {name: ended.get(name, value) for name, value in tidy["meta"].items()}
    if isinstance(tidy.get("data"), dict):
        tidy["data"] = _tidied(tidy["data"])
    return tidy


def _unlike(ours: Operation, found: Any, answer: Any, node: Node) -> Iterator[str]:
    where, inner = f"{ours.name} {ours.version}", fields_of(node)
    if ours.kind == "action" and not isinstance(found, Answer):
        if found != answer:
            yield f"{where}: another answer"
        return
    if "data" in inner and (not isinstance(found, Answer) or found.enveloped):
        answer, node = answer.get("data", {}), inner["data"]
    yield from unlike(where, found, answer, node)
