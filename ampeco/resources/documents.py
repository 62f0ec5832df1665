"""Read answers of resources into the classes of `ampeco.models.objects`, and write bodies as plain JSON.

AMPECO's schemas are a guess in places, so one odd field must cost neither the answer nor the rest of a list. Its
attribute holds what AMPECO sent, and only code that uses the field notices. No value becomes None for being odd.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from itertools import chain
from typing import Any

from pydantic import ValidationError

from ampeco.actions.encoding import moment
from ampeco.errors import ServerFault
from ampeco.models.objects import OBJECTS
from ampeco.models.payload import VendorObject
from ampeco.models.reading import read_payload
from ampeco.operations import Operation
from ampeco.wire import content


def an_object(operation: Operation, document: Any) -> Any:
    """Return what a read answers: an object of its class, or as AMPECO sent it where no class is known.

    Raises:
        ServerFault: no object where one is due, or without envelope and without any field of its class, such as
            `{message}`; `body` is what came instead.
    """
    data = content(document)
    due = dict if operation.answer else dict | int | float  # the consumption of one phase is a number
    if not isinstance(data, due) and (operation.answer or operation.path.endswith("}")):
        raise ServerFault(operation.name, None, "the answer is not an object", json.dumps(document))
    if operation.answer and data is document and not _spellings(OBJECTS[operation.answer]) & data.keys():
        raise ServerFault(operation.name, None, "the answer is another object", json.dumps(document))
    return an_entry(operation, data)


def an_answer(operation: Operation, document: Any) -> Any:
    """Return what a write answers, None if nothing. It was carried out, so nothing in the answer is an error."""
    data = content(document)
    return None if operation.answer and not isinstance(data, dict) else an_entry(operation, data)


def an_entry(operation: Operation, data: Any) -> Any:
    """Return one entry of a list, or what was inside an envelope."""
    if operation.answer and isinstance(data, dict):
        return fitted(OBJECTS[operation.answer], data)
    return data


def fitted(model: type[VendorObject], data: dict[str, Any]) -> VendorObject:
    """Return the object; a field that does not fit its type holds what AMPECO sent."""
    try:
        return model.model_validate(data)
    except ValidationError as misfit:
        odd = {
            str(error["loc"][0]) for error in misfit.errors(include_url=False) if error["type"] != "missing"
        }
    # What is required and missing is an error where it is asked for.
    read, _ = read_payload(model, data)  # type: ignore[type-var]
    for name, field in model.model_fields.items():
        for spelled in odd & {name, field.alias} & data.keys():
            read.__dict__[name] = data[spelled]
    return read


@cache
def _spellings(model: type[VendorObject]) -> frozenset[str]:
    names = ((name, field.alias or name) for name, field in model.model_fields.items())
    return frozenset(chain.from_iterable(names))


def plain(body: Any) -> Any:
    """Return a body as JSON values: objects become dicts, moments text in UTC."""
    match body:
        case VendorObject():  # a field that did not fit when it was read goes back as it came
            return body.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
        case datetime():
            return moment(body)
        case Mapping():
            return {name: plain(value) for name, value in body.items()}
        case list() | tuple():
            return [plain(value) for value in body]
    return body
