"""Hides personal values in a body before it is shown. What is hidden is found by the names of fields, and by form."""

from __future__ import annotations

import json
import re
from itertools import islice, pairwise
from typing import Any, Final

MASK: Final = "••••••"
MOST_CHARS: Final = 60_000
"""Of a body; the text ends soon after them."""
_MOST_VALUES = 20_000  # of a body; with its indent, each takes four characters at least

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
            return {name: _masked_field(name, inner, of_person) for name, inner in value.items()}
        case list():
            return [masked(inner, of_person=of_person) for inner in value]
        case str() if _LOOKS_PERSONAL.fullmatch(value):
            return MASK
    return value


def readable(body: bytes, *, personal: bool) -> str:
    """Return the beginning of a body as indented JSON, personal values hidden unless asked for.

    A body that cannot be read as JSON is shown only as it is, with its personal values.
    """
    try:
        value = _first_values(json.loads(body), [_MOST_VALUES])
        shown, size = [], 0
        # Piece by piece, since the indents of a body of many levels are a thousand times its size.
        for piece in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(
            value if personal else masked(value)
        ):
            shown.append(piece)
            size += len(piece)
            if size > MOST_CHARS:
                break
        return "".join(shown)
    except (ValueError, RecursionError):
        return body[:MOST_CHARS].decode("utf-8", "backslashreplace") if personal else ""


def _first_values(value: Any, left: list[int]) -> Any:
    """Return a JSON value with its first values alone, since masking half a million takes a second.

    Args:
        left: how many are still to be taken; what is taken is subtracted.
    """
    left[0] -= 1
    match value:
        case dict():
            return {
                name: _first_values(inner, left)
                for name, inner in islice(value.items(), max(0, left[0]))
                if left[0] > 0
            }
        case list():
            return [_first_values(inner, left) for inner in islice(value, max(0, left[0])) if left[0] > 0]
    return value


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
            return {name: _hidden(inner) for name, inner in value.items()}
        case list():
            return [_hidden(inner) for inner in value]
        case None | bool() | "":
            return value
    return MASK
