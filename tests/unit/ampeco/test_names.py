"""Names that are declared: what separates them in one text cannot stand in them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampeco.catalogue import KNOWN_TYPES, UNCONFIRMED_TYPES
from ampeco.names import fault_of_queue, fault_of_type


@pytest.mark.parametrize("name", [*KNOWN_TYPES, *UNCONFIRMED_TYPES, "*", "gebühr.geändert"])
def test_takes_every_type_that_ampeco_has(name: str) -> None:
    assert fault_of_type(name) is None


@pytest.mark.parametrize("name", ["default", "bulk.isolated", "a:b_c-1"])
def test_takes_usual_queues(name: str) -> None:
    assert fault_of_queue(name) is None


@settings(max_examples=50)
@given(
    st.text(st.characters(exclude_categories=()), min_size=1, max_size=8),
    st.sampled_from("\t\n\r|,\0\x1b\u202e\ud800 "),
)
def test_names_the_character_that_separates_names(text: str, char: str) -> None:
    name = text[:4] + char + text[4:]
    for fault in (fault_of_type(name), fault_of_queue(name)):
        assert fault is not None
        assert fault.isascii()
        assert fault.isprintable()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x\ty", r"has '\t' (U+0009) at place 2; it may have no blank, comma, bar or invisible character"),
        ("", "is empty"),
        (None, "must be text, not NoneType"),
        ("x" * 201, "has 201 bytes; it may have 200"),
        ("漢" * 67, "has 201 bytes; it may have 200"),
    ],
)
def test_says_what_is_wrong(name: object, says: str) -> None:
    assert fault_of_type(name) == says
