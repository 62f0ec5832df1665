"""Makes plausible values for a JSON Schema from the contract: the same ones each time, and no personal data in them.

Ids agree with each other: they are those of charge point 12 of a fleet of the simulator.
"""

import re
from collections.abc import Mapping
from typing import Any

from ampeco.contract.checks import fits
from ampeco.contract.merging import Schema, merged, types

IDS: Mapping[str, int] = {
    "authorization": 600_001,
    "cdr": 500_001,
    "chargePoint": 12,
    "evse": 121,
    "location": 2,
    "session": 100_001,
    "transaction": 400_001,
    "user": 5001,
}
"""Noun -> its id; every other noun has the id 1."""

_AT = "2026-11-24T08:15:30Z"
_LATER = "2026-11-24T09:00:30Z"
_CHOICES = ("stop", "finished", "updated", "active", "enabled", "evdisconnected", "paid", "completed")
"""Of the values of an enum these are preferred, in this order: they agree with each other."""
_FORMATS = {
    "boolean": "true",
    "date": "2026-11-24",
    "date-time": _AT,
    "datatime": _AT,
    "datetime": _AT,
    "email": "driver@example.com",
    "number": "12.5",
    "time": "08:15",
    "uri": "https://tenant.example/files/1",
    "url": "https://tenant.example/files/1",
    "uuid": "5d3c1f2e-0f4b-4a63-9d0e-2f6a7c1b8e90",
}
_TEXTS: Mapping[str, str] = {
    "address": "1 Example Street",
    "city": "Sofia",
    "country": "BG",
    "countryCode": "BG",
    "currency": "EUR",
    "charge_box_serial_number": "CB-0012",
    "charge_point_serial_number": "SN-0012",
    "currencyCode": "EUR",
    "day": "mon",
    "defaultLanguage": "en",
    "endHour": "20:00",
    "expMonth": "11",
    "expYear": "2030",
    "externalSessionId": "9f2c6a1e77d0",
    "fileName": "diagnostics-12.zip",
    "firmware_version": "1.4.2",
    "firstName": "Driver",
    "iccid": "8900000000000000012",
    "idTag": "04AA11BB22CC33",
    "idTagUid": "04AA11BB22CC33",
    "imsi": "001010000000012",
    "ip": "192.0.2.12",
    "language": "en",
    "last4": "4242",
    "lastName": "Example",
    "locale": "en",
    "meter_serial_number": "M-0012",
    "meter_type": "Example meter",
    "model": "Example 22",
    "networkId": "1",
    "networkIp": "192.0.2.12",
    "partyId": "EXA",
    "paymentMethodId": "pm-5001",
    "period": "2026-11",
    "phone": "+15550100",
    "physicalReference": "1",
    "postCode": "1000",
    "post_code": "1000",
    "postcode": "1000",
    "reason": "PowerUp",
    "reportUid": "2026-11-1",
    "rfidTagUid": "04AA11BB22CC33",
    "startHour": "08:00",
    "state": "finished",
    "supportedLanguages": "en",
    "timezone": "Europe/Sofia",
    "vendor": "Example",
}
_NUMBERS: Mapping[str, float] = {
    "energy": 18250,
    "energyConsumed": 18250,
    "latitude": 42.7,
    "longitude": 23.3,
    "meterStart": 1_204_500,
    "meterStop": 1_222_750,
    "percentage": 20,
    "powerKw": 11,
    "socPercent": 57,
    "taxPercentage": 20,
}
_TIME_NAMES = re.compile(r"(At|timestamp|[a-z]Timestamp(Local)?)$")
_LATE_NAMES = re.compile(r"^(stop|end|expir|valid_?to|finish|lastUpdated)", re.IGNORECASE)
_URL_NAMES = re.compile(r"(^url|Url|URL|^path|^first|^last|^prev|^next)$")
_ID_NAMES = re.compile(r"(?P<noun>\w+?)(Id|_id)$")
_PATTERNED = ("08:15", "08:15:30", "BG")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|_|\s+")


def example(schema: Schema, name: str = "", *, full: bool = False) -> Any:
    """A value that fits the schema.

    Args:
        name: of the field it is for; it decides which value is plausible.
        full: with every optional field and one element in each list, instead of none.
    """
    for word in ("oneOf", "anyOf"):
        if word in schema:
            return _of_alternatives(schema, word, name, full=full)
    if "enum" in schema:
        values = [value for value in schema["enum"] if value is not None]
        return next((value for value in _CHOICES if value in values), values[0])
    kinds = [kind for kind in types(schema) if kind != "null"]
    match kinds[0] if kinds else ("object" if "properties" in schema else "string"):
        case "object":
            return _object(schema, name, full=full)
        case "array":
            return [example(schema["items"], _singular(name), full=True)] if full else []
        case "boolean":
            return True
        case "string":
            return _text(schema, name)
        case kind:
            return _number(schema, name, whole=kind == "integer")


def completed(schema: Schema, given: Any, name: str = "") -> Any:
    """A value that fits the schema and keeps what it can of the given one.

    A field that is required and missing gets a plausible value. One that does not fit gets one where it is
    required, and is left out where it is not. Fields that the schema does not name stay where it allows them.
    """
    if fits(schema, given, strict=True):
        return given
    for word in ("oneOf", "anyOf"):
        if word in schema:
            return _completed_alternative(schema, word, given, name)
    kinds = types(schema)
    if isinstance(given, dict) and "object" in kinds:
        return _completed_object(schema, given, name)
    if isinstance(given, list) and "array" in kinds:
        return [completed(schema["items"], element, _singular(name)) for element in given]
    for other in (_other_spelling(given), None):
        if fits(schema, other):
            return other
    return example(schema, name)


def _completed_alternative(schema: Schema, word: str, given: Any, name: str) -> Any:
    base = {key: value for key, value in schema.items() if key != word}
    made = [completed(merged(base, part), given, name) for part in schema[word]]
    made.append(example(schema, name))
    strict = (value for value in made if fits(schema, value, strict=True))
    return next(strict, next(value for value in made if fits(schema, value)))


def _completed_object(schema: Schema, given: Mapping[str, Any], name: str) -> dict[str, Any]:
    known, required = schema.get("properties", {}), schema.get("required", ())
    open_ = schema.get("additionalProperties") is not False
    made = {}
    for field, value in given.items():
        if field not in known:
            if open_:
                made[field] = value
            continue
        fitting = completed(known[field], value, field)
        if field in required or isinstance(value, dict | list) or fitting in (value, _other_spelling(value)):
            made[field] = fitting
    for field in required:
        if field not in made:
            made[field] = _member(known.get(field, {}), field, name, full=False)
    return made


def _other_spelling(given: Any) -> Any:
    """An id as a text instead of a number, or the other way round."""
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    if isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) < 16:
        return int(given)
    return given


def _of_alternatives(schema: Schema, word: str, name: str, *, full: bool) -> Any:
    base = {key: value for key, value in schema.items() if key != word}
    made = None
    for fullness in (full, not full):
        for part in schema[word]:
            made = example(merged(base, part), name, full=fullness)
            if fits(schema, made, strict=True):
                return made
    return made


def _object(schema: Schema, name: str, *, full: bool) -> dict[str, Any]:
    known = schema.get("properties", {})
    if full and not known and schema.get("additionalProperties") is not False:
        return {"example": "value"} if name.endswith("Data") else {"en": _words(name)}
    wanted = known if full else schema.get("required", ())
    return {field: _member(known.get(field, {}), field, name, full=full) for field in wanted}


def _member(schema: Schema, field: str, owner: str, *, full: bool) -> Any:
    made = example(schema, field, full=full)
    if field == "id" and owner in IDS:
        number = IDS[owner]
        return next((value for value in (number, str(number)) if fits(schema, value)), made)
    return made


def _text(schema: Schema, name: str) -> str:
    form = schema.get("format", "")
    if "pattern" in schema:
        return next(text for text in _PATTERNED if re.search(schema["pattern"], text))
    if form == "integer":
        return str(_id(name))
    text = _FORMATS.get(form) or _TEXTS.get(name) or _told_by_name(name)
    text = _LATER if text == _AT and _LATE_NAMES.match(name) else text
    text = text.ljust(schema.get("minLength", 0), "0")
    return text[: schema.get("maxLength", len(text))]


def _told_by_name(name: str) -> str:
    if _TIME_NAMES.search(name):
        return _AT
    if _URL_NAMES.search(name):
        return _FORMATS["url"]
    if "mail" in name.lower():
        return _FORMATS["email"]
    if "hone" in name:
        return _TEXTS["phone"]
    if name == "id" or (_ID_NAMES.fullmatch(name) and _ID_NAMES.fullmatch(name)["noun"] in IDS):  # type: ignore[index]
        return str(_id(name))
    return _words(name)


def _number(schema: Schema, name: str, *, whole: bool) -> float:
    number = _NUMBERS.get(name) or (_id(name) if whole or name.endswith(("Id", "id")) else 12.5)
    number = min(max(number, schema.get("minimum", number)), schema.get("maximum", number))
    return int(number) if whole else number


def _id(name: str) -> int:
    found = _ID_NAMES.fullmatch(name)
    return IDS.get(found["noun"] if found else name, 1)


def _words(name: str) -> str:
    return f"{'-'.join(_HUMP.split(name)).lower()}-1" if name else "example"


def _singular(name: str) -> str:
    return name.removesuffix("s")
