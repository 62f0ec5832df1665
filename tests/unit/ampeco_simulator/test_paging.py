"""Pages of a listing."""

from typing import Any

from ampeco.operations import OPERATIONS
from ampeco.simulator.api.call import Call
from ampeco.simulator.api.paging import page
from ampeco.simulator.switches import Habits

SESSIONS = OPERATIONS["resources.sessions.list"]


def asking(**query: str) -> Call:
    return Call(SESSIONS, {}, tuple(query.items()), "http://t/sessions", "token", b"")


def test_a_filtered_list_is_walked_once_and_not_once_per_page() -> None:
    """A tenant of 10,000 charge points must answer other calls meanwhile."""
    ids, made = [str(number) for number in range(1, 1001)], []

    def show(id_: str) -> dict[str, Any]:
        made.append(id_)
        return {"id": int(id_)}

    found, cursor = [], "null"
    while cursor:
        answer = page(
            asking(cursor=cursor, per_page="20"), Habits(), ids, show, lambda one: one["id"] % 2 == 0
        )
        found += [one["id"] for one in answer["data"]]
        cursor = answer["meta"]["next_cursor"]
    assert found == list(range(2, 1001, 2))
    assert len(made) < 1.2 * len(ids)


def test_the_last_page_may_be_full_and_names_no_further_one() -> None:
    ids = [str(number) for number in range(1, 5)]
    first = page(asking(cursor="null", per_page="2"), Habits(), ids, int)
    last = page(asking(cursor=first["meta"]["next_cursor"], per_page="2"), Habits(), ids, int)
    assert (first["data"], last["data"], last["meta"]["next_cursor"]) == ([1, 2], [3, 4], None)


def test_a_filtered_list_by_number_counts_what_fits() -> None:
    ids = [str(number) for number in range(1, 11)]
    answer = page(asking(page="2", per_page="2"), Habits(), ids, int, lambda number: number > 5)
    assert (answer["data"], answer["meta"]["total"], answer["meta"]["last_page"]) == ([8, 9], 5, 3)
