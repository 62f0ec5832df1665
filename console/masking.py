"""Hides personal values in a body before it is shown. What is hidden is found by the names of fields, and by form."""

from __future__ import annotations

import json
import re
from typing import Any, Final

MASK: Final = "••••••"

# Parts of field names, in lower case without separators. One too many hides a harmless value; one too few shows a
# person, so the list is generous.
_PERSONAL = (
    "email", "phone", "mobile", "firstname", "lastname", "middlename", "fullname", "username", "displayname",
    "holder", "owner", "contact", "address", "street", "postcode", "postalcode", "zip", "city", "birth", "gender",
    "personalid", "taxid", "vatid", "regno", "idtag", "rfid", "idtoken", "tagid", "tokenuid", "uid", "contractid",
    "emaid", "evcoid", "licenseplate", "licenceplate", "numberplate", "plate", "vin", "iban", "bic", "card", "pan",
    "account", "passport", "password", "secret", "token", "authorization", "apikey", "ipaddress", "latitude",
    "longitude", "note", "comment", "message", "individual",
)  # fmt: skip
_NAMES_OF_PEOPLE = ("user", "driver", "customer", "person", "invoicedetails", "billing")
_LOOKS_PERSONAL = re.compile(r"[^\s@]{1,100}@[^\s@]{1,100}\.[^\s@]{2,}|\+[0-9][0-9 ()-]{7,}|[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_NOT_LETTERS = re.compile(r"[^a-z0-9]")


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
    """Return a body as indented JSON, personal values hidden unless asked for.

    A body that is not JSON is shown only as a whole, with its personal values.
    """
    try:
        value = json.loads(body)
        return json.dumps(value if personal else masked(value), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "backslashreplace") if personal else ""


def _masked_field(name: str, value: Any, of_person: bool) -> Any:
    plain = _NOT_LETTERS.sub("", name.lower())
    about = of_person or any(part in plain for part in _NAMES_OF_PEOPLE)
    if any(part in plain for part in _PERSONAL) or (about and plain == "name"):
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
