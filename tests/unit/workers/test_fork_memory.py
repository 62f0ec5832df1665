"""What a fork finds out is known to the next one."""

from __future__ import annotations

import os
import warnings

from eventlog.handler_faults import MOST, Fault
from workers.process.fork_memory import ForkMemory


def in_fork(memory: ForkMemory, *faults: Fault) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # only tests have threads here
        child = os.fork()
    if child == 0:
        memory.keep(faults)
        os._exit(0)
    os.waitpid(child, 0)


def test_a_fork_leaves_its_faults_to_the_next():
    memory = ForkMemory()
    assert memory.faults() == ()
    fault = Fault("h", "lifespan-failed", "OSError", "x.py:1 in f", 5, 6)
    in_fork(memory, fault, Fault("other", "settings-missing", "S: token"))
    assert memory.faults()[0] == fault
    in_fork(memory, fault)
    assert memory.faults() == (fault,)
    in_fork(memory)
    assert memory.faults() == ()


def test_faults_with_long_texts_are_cut():
    memory = ForkMemory()
    in_fork(
        memory, *(Fault(f"{n} \U0001f600" + "\x00" * 5_000, *["\x00" * 5_000] * 3) for n in range(2 * MOST))
    )
    assert len(memory.faults()) == MOST
