"""Hides personal values in a body before it is shown. What is hidden is found by the names of fields, and by form."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any, Final

MASK: Final = "••••••"

_CUT = "… (cut)"
_MOST_VALUES = 5_000  # of a body; a page shows fewer lines
_MOST_DEPTH = 100

# Words of field names, and pairs of words. One too many hides a harmless value; one too few shows a person, so the
# list is generous.
_PERSONAL = frozenset(
    (
        "email", "mail", "phone", "mobile", "tel", "telephone", "firstname", "lastname", "middlename", "fullname",
        "surname", "username", "displayname", "holder", "owner", "contact", "address", "street", "postcode",
        "postalcode", "zip", "city", "birth", "birthday", "birthdate", "gender", "personalid", "taxid", "vatid",
        "regno", "idtag", "rfid", "idtoken", "tagid", "uid", "contractid", "emaid", "evcoid", "licenseplate",
        "licenceplate", "numberplate", "plate", "vin", "iban", "bic", "card", "pan", "account", "passport",
        "password", "secret", "token", "authorization", "apikey", "ip", "latitude", "longitude",
        "lat", "lng", "note", "notes",
        "comment", "message", "individual", "avatar", "signature",
    )
)  # fmt: skip
_PEOPLE = frozenset(("user", "driver", "customer", "person", "invoicedetails", "billing", "owner", "contact"))
_LOOKS_PERSONAL = re.compile(
    # An e-mail address. The look ahead keeps a text of many dots from being read a hundred times.
    r"[^\s@]{1,100}@(?=[^\s@]{1,100}\.[^\s@]{2})[^\s@]+"
    r"|\+[0-9][0-9 ()-]{7,}"  # a telephone number
    r"|[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}"  # an IBAN
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def masked(value: Any, *, of_person: bool = False) -> Any:
    """Return a JSON value with personal texts and numbers replaced.

    Args:
        of_person: it lies in an object that describes a person; then names are hidden, too.
    """
    match value:
        case dict():
            return {_name(name): _masked_field(name, inner, of_person) for name, inner in value.items()}
        case list():
            return [masked(inner, of_person=of_person) for inner in value]
        case str() if _LOOKS_PERSONAL.fullmatch(value):
            return MASK
    return value


def readable(body: bytes, *, personal: bool) -> str:
    """Return a body as indented JSON, personal values hidden unless asked for.

    A body that is not JSON is shown only as a whole, with its personal values. A large body is cut.
    """
    try:
        value = _cut(json.loads(body), [_MOST_VALUES], _MOST_DEPTH)
        return json.dumps(value if personal else masked(value), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "backslashreplace") if personal else ""


def _cut(value: Any, left: list[int], depth: int) -> Any:
    """Return the beginning of a value. Lists in lists make indented JSON slow to write, so the depth is bounded, too.

    Args:
        left: how many values may still be read; counted down.
    """
    if not isinstance(value, dict | list) or not value:
        return value
    if not depth:
        return _CUT
    if isinstance(value, dict):
        fields = {}
        for name, inner in value.items():
            if left[0] <= 0:
                fields[_CUT] = _CUT
                break
            left[0] -= 1
            fields[name] = _cut(inner, left, depth - 1)
        return fields
    elements = []
    for inner in value:
        if left[0] <= 0:
            elements.append(_CUT)
            break
        left[0] -= 1
        elements.append(_cut(inner, left, depth - 1))
    return elements


def _name(name: str) -> str:
    """Return the name of a field; an object may be by e-mail address."""
    return MASK if _LOOKS_PERSONAL.fullmatch(name) else name


def _masked_field(name: str, value: Any, of_person: bool) -> Any:
    words = [word.lower() for word in _WORD.findall(name)]
    parts = {*words, *map("".join, pairwise(words))}
    about = of_person or bool(parts & _PEOPLE)
    if parts & _PERSONAL or (about and words == ["name"]):
        return _hidden(value)
    return masked(value, of_person=about)


def _hidden(value: Any) -> Any:
    """Hide every text and number of a value; what is empty, true or false stays."""
    match value:
        case dict():
            return {_name(name): _hidden(inner) for name, inner in value.items()}
        case list():
            return [_hidden(inner) for inner in value]
        case None | bool() | "":
            return value
    return MASK
