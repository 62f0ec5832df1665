"""Facts -> `ampeco/operations/table.json`, a row per endpoint and version; refuses two rows of one name and version.

How a name is made is in `ampeco/README.md`; what no rule gives is in `judgements.json`.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from ampeco.generator import contract_rows
from ampeco.generator.bodies import VARIABLES, corrected, fields
from ampeco.generator.facts import FACTS, PACKAGE, facts, judgements

TABLE = PACKAGE / "operations" / "table.json"
SEED = "<= 3.59.0"  # the oldest index that was read names the subscription endpoints

_VERSION = re.compile(r"v(\d+\.\d+)")
_SUBSCRIPTIONS = {"POST": "subscribe", "PUT": "update", "DELETE": "unsubscribe"}
_PAGED = {"empty-cursor", "next-link", "page"}
_RETURNS_THE_OBJECT = {"list", "read", "create", "update", "replace"}

Row = dict[str, Any]


def outputs() -> dict[Path, str]:
    """The table."""
    lines = ",\n".join(json.dumps(_without_defaults(row), ensure_ascii=False) for row in rows())
    return {TABLE: f"[\n{lines}\n]\n"}


@cache
def rows() -> tuple[Row, ...]:
    """Every endpoint in every version, in the order of their names. Shared: not to be changed."""
    made = [
        *map(_action, facts("actions.json")),
        *map(_resource, facts("resources.json")),
        *(
            _subscription(e)
            for e in facts("notifications_api.json")["endpoints"]
            if "/actions/" not in e["path"]
        ),
    ]
    _refuse_two_of_one_name(made)
    return tuple(sorted(made, key=lambda row: (row["name"], _numbers(row["version"]))))


def _action(entry: Row) -> Row:
    name = _given_name(entry) or _action_name(entry["path"])
    members, takes = fields(name, entry["body"])
    described = contract_rows.body(entry["method"], entry["path"])
    if described and takes == "array":
        members = corrected(members, [{**described, "name": VARIABLES, "required": True}])
    elif described:
        members = corrected(members, described["fields"])
    return _row(
        entry,
        name=name,
        kind="action",
        idempotent=judgements()["repeat"][name]["harmless"],
        fields=members,
        takes=takes,
        answer=judgements()["answers"].get(name),
    )


def _action_name(path: str) -> str:
    noun, _, *rest = path.removeprefix("/public-api/actions/").split("/")
    (verb,) = [part for part in rest if not part.startswith("{")]
    return f"{noun.removesuffix('s')}.{verb}"


def _resource(entry: Row) -> Row:
    stem, verb = _stem(entry), _verb(entry)
    name = _given_name(entry) or f"{stem}.{verb}"
    writes = entry["method"] != "GET"
    has_no_body = entry["method"] in ("GET", "DELETE")
    return _row(
        entry,
        name=name,
        kind="write" if writes else "read",
        idempotent=entry["method"] != "POST",  # the others set values: a second equal call sets them again
        fields=[] if has_no_body else None,
        answer=_object_in_answer(entry, stem, verb),
        paging=_paging(entry) if verb == "list" else "",
    )


def _object_in_answer(entry: Row, stem: str, verb: str) -> str | None:
    """Title of the object that is answered; None where one success of the contract answers otherwise than another.

    So it is with payment methods: what a first call answers is needed for the second, which answers the object.
    """
    answers = (_contract(entry) or {"answers": {}})["answers"]
    shapes = [shape for status, shape in answers.items() if status.startswith("2") and shape is not None]
    if verb not in _RETURNS_THE_OBJECT or any(shape != shapes[0] for shape in shapes):
        return None
    return _objects().get(f"{stem} {entry['version']}")


def _stem(entry: Row) -> str:
    parts = entry["path"].removeprefix("/public-api/").split("/")
    return ".".join(part for part in parts if not part.startswith("{") and not _VERSION.fullmatch(part))


def _verb(entry: Row) -> str:
    title = entry["name"].lower()
    match entry["method"]:
        case "GET":
            named_so = title.endswith("listing") and not _answers_an_object(entry)
            return "list" if named_so or _paging(entry) in _PAGED else "read"
        case "POST":
            return "update" if title.endswith("update") else "create"
        case "PUT":
            return "replace" if _has_patch(entry["path"]) else "update"
        case "PATCH":
            return "update"
    return "delete"


def _contract(entry: Row) -> Row | None:
    """The operation in the published contract, None for one that the contract does not have."""
    found: Row | None = facts("contract.json")["operations"].get(f"{entry['method']} {entry['path']}")
    return found


def _paging(entry: Row) -> str:
    """How the first page is asked for, as `Operation.paging` says it."""
    contract = _contract(entry)
    if contract is None:
        return ""
    sized = "query per_page" in contract.get("parameters", {})
    return contract.get("paging") or ("size" if sized else "none")


def _answers_an_object(entry: Row) -> bool:
    contract = _contract(entry)
    if contract is None:
        return False
    answer = _shape(contract["answers"]["200"])
    members = {name.split()[0]: shape for name, shape in answer["fields"].items()}
    return isinstance(_shape(members.get("data", answer)), dict)


def _shape(shape: Any) -> Any:
    shared = isinstance(shape, str) and shape.startswith("@")
    return facts("contract.json")["shared"][shape[1:]] if shared else shape


def _has_patch(path: str) -> bool:
    return any(e["method"] == "PATCH" and e["path"] == path for e in facts("resources.json"))


@cache
def _objects() -> dict[str, str]:
    """`resources.sessions 1.0` -> the title of the schema that such an endpoint reads."""
    found: dict[str, str] = dict(judgements()["objects"])
    for path in sorted((FACTS / "schemas").glob("*.json")):
        schema = facts(f"schemas/{path.name}")
        reads = re.match(r"GET (/public-api/resources/\S+)", schema.get("x-resource", ""))
        version = _VERSION.search(schema.get("x-resource", ""))
        if reads and version:
            found[f"{_stem({'path': reads[1]})} {version[1]}"] = schema["title"]
    return found


def _subscription(entry: Row) -> Row:
    one = entry["path"].endswith("}")
    verb = _SUBSCRIPTIONS.get(entry["method"], "read" if one else "list")
    name = f"notifications.{verb}"
    members, takes = fields(name, entry["body"] or {})
    return _row(
        entry,
        name=name,
        group="notifications",
        kind="read" if entry["method"] == "GET" else "write",
        idempotent=verb != "subscribe",  # each call adds one (stated by a generated client)
        fields=members,
        takes=takes,
        answer="Notification" if entry["response"] else None,
        paging=_paging(entry) if verb == "list" else "",
    )


def _row(entry: Row, **more: Any) -> Row:
    found = _VERSION.search(entry["path"])
    assert found, entry["path"]
    return {
        "name": "",
        "title": entry["name"],
        "group": entry.get("group"),
        "method": entry["method"],
        "path": entry["path"],
        "version": found[1],
        "deprecated": entry["deprecated"],
        "published": _contract(entry) is not None,
        "since": entry.get("first_index_version", SEED),
        "takes": "object",
        **more,
    }


def _given_name(entry: Row) -> str | None:
    name: str | None = judgements()["names"].get(f"{entry['method']} {entry['path']}")
    return name


def _refuse_two_of_one_name(made: list[Row]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for row in made:
        key = row["name"], row["version"]
        if key in seen:
            raise ValueError(f"{key} is both {seen[key]} and {row['method']} {row['path']}")
        seen[key] = f"{row['method']} {row['path']}"


def _without_defaults(row: Row) -> Row:
    usual = {
        "deprecated": False,
        "published": True,
        "fields": [],
        "takes": "object",
        "answer": None,
        "paging": "",
    }
    return {name: value for name, value in row.items() if name not in usual or value != usual[name]}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
