"""Faults travel in beats, which other releases write, too."""

from __future__ import annotations

import json

import pytest

from eventlog.handler_faults import Fault, faulty_by_name, packed, unpacked
from eventlog.presence import Process

FAULT = Fault("h", "lifespan-failed", "OSError", "x.py:1 in f", 5, None)


def test_a_fault_comes_back_as_it_was():
    assert unpacked(json.loads(json.dumps(packed([FAULT])))) == (FAULT,)


@pytest.mark.parametrize(
    "said", [None, {}, "x", [[]], [["h", "r", "e", "w", "soon", None]], [[1, 2, 3, 4, 5, 6]]]
)
def test_what_is_no_fault_is_left_out(said: object):
    assert unpacked(said) == ()


def test_what_a_later_release_adds_is_ignored():
    assert unpacked([[*packed([FAULT])[0], "more"]]) == (FAULT,)


def test_one_handler_is_named_once_with_all_its_processes_and_its_oldest_fault():
    later = FAULT._replace(since_ms=9, error="KeyError")
    processes = [
        Process("host:1:a", 0, 0, {}, "default", faults=(later,)),
        Process("host:2:b", 0, 0, {}, "default", faults=(FAULT,)),
    ]
    (found,) = faulty_by_name(processes).values()
    assert (found.fault, found.processes) == (FAULT, ("host:1", "host:2"))
