"""Pages of a listing, by cursor or by number, as AMPECO writes them; knows nothing of what is listed.

Source: published contract v3.110.0. `per_page` is at most and by default 100. Some listings use cursors from the
first page on, some when `cursor` is sent (empty at first), the others count pages. `cursor=null` asks for the first
page, as two clients in production do (undocumented).
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from ampeco.contract import published
from ampeco.simulator.api.call import Call
from ampeco.simulator.model import Refused
from ampeco.simulator.switches import Habits

MAX_PER_PAGE = 100


def page(
    call: Call,
    habits: Habits,
    ids: Sequence[str],
    show: Callable[[str], Any],
    fits: Callable[[Any], bool] | None = None,
) -> dict[str, Any]:
    """One page of a listing.

    Args:
        ids: of everything, in the order of the listing.
        show: makes the document of one.
        fits: whether a document is asked for, None = all are. By cursor only those up to the end of the page are
            looked at; the number of pages needs a look at all of them.
    """
    per_page = _whole(call.query.get("per_page"), MAX_PER_PAGE, MAX_PER_PAGE)
    if _asks_for_cursors(call, habits):
        return _by_cursor(call, habits, ids, show, fits, per_page)
    if fits is not None:
        ids = [id_ for id_ in ids if fits(show(id_))]
    return _by_number(call, ids, show, per_page)


def _asks_for_cursors(call: Call, habits: Habits) -> bool:
    known = published.operation(call.operation.method, call.operation.path)
    if habits.listings != "documented" or known is None or not known.answers:
        return habits.listings != "page" and "cursor" in call.query
    return known.paging == "next-link" or (known.paging == "empty-cursor" and "cursor" in call.query)


def _by_cursor(
    call: Call,
    habits: Habits,
    ids: Sequence[str],
    show: Callable[[str], Any],
    fits: Callable[[Any], bool] | None,
    per_page: int,
) -> dict[str, Any]:
    rest = ((id_, show(id_)) for id_ in islice(ids, _after(call.query.get("cursor", ""), ids), None))
    asked_for = (entry for entry in rest if fits is None or fits(entry[1]))
    shown = list(islice(asked_for, per_page + 1))
    cursor = _write_cursor(shown[per_page - 1][0]) if len(shown) > per_page else None
    meta = {"path": call.url, "per_page": per_page, habits.cursor_name: cursor, "prev_cursor": None}
    documents = [document for _, document in shown[:per_page]]
    links = {"first": None, "last": None, "prev": None, "next": _link(call, "cursor", cursor)}
    return {"data": documents, "links": links, "meta": meta}


def _by_number(call: Call, ids: Sequence[str], show: Callable[[str], Any], per_page: int) -> dict[str, Any]:
    last_page = max(1, -(-len(ids) // per_page))
    number = _whole(call.query.get("page"), 1, 1_000_000)
    skipped = (number - 1) * per_page
    shown = ids[skipped : skipped + per_page]
    return {
        "data": [show(id_) for id_ in shown],
        "links": {
            "first": _link(call, "page", 1),
            "last": _link(call, "page", last_page),
            "prev": _link(call, "page", number - 1 if number > 1 else None),
            "next": _link(call, "page", number + 1 if number < last_page else None),
        },
        "meta": {
            "current_page": number,
            "from": skipped + 1 if shown else None,
            "last_page": last_page,
            "path": call.url,
            "per_page": per_page,
            "to": skipped + len(shown) if shown else None,
            "total": len(ids),
        },
    }


def _link(call: Call, name: str, value: str | int | None) -> str | None:
    """The URL of another page; None when there is none."""
    kept = [pair for pair in call.pairs if pair[0] != name]
    return None if value is None else f"{call.url}?{urlencode([*kept, (name, value)])}"


def _whole(text: str | None, default: int, at_most: int) -> int:
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 10):
        return default
    return min(max(int(text), 1), at_most)


def _write_cursor(last_id: str) -> str:
    return urlsafe_b64encode(f"after:{last_id}".encode()).decode()


def _after(cursor: str, ids: Sequence[str]) -> int:
    """Where the next page starts, also when the last one shown was removed meanwhile: ids grow."""
    if cursor in {"", "null"}:
        return 0
    try:
        word, _, last_id = urlsafe_b64decode(cursor).decode().partition(":")
        if word != "after":
            raise ValueError(word)
        if last_id in ids:
            return ids.index(last_id) + 1
        return next((at for at, id_ in enumerate(ids) if int(id_) > int(last_id)), len(ids))
    except ValueError:
        raise Refused(422, "The cursor is not valid.") from None
