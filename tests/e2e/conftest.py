"""What the tests of whole commands share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.process_tree import short_folder


@pytest.fixture
def tmp() -> Iterator[Path]:
    """A temporary folder; commands have their TMPDIR in it."""
    with short_folder() as folder:
        yield folder
