"""One call of the API as the pretend tenant sees it, and its answer; knows no web framework."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ampeco.operations import Operation
from ampeco.simulator.model import Refused


class Answer(NamedTuple):
    """A status and a document; no document means an empty body."""

    status: int
    document: Any = None


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was let in.

    Attributes:
        params: path parameters under AMPECO's names.
        pairs: the query, in its order.
        url: without the query, for links to other pages.
        token: whose owner calls.
    """

    operation: Operation
    params: Mapping[str, str]
    pairs: Sequence[tuple[str, str]] = field(repr=False)
    url: str = field(repr=False)
    token: str = field(repr=False)
    raw: bytes = field(repr=False)

    @property
    def query(self) -> Mapping[str, str]:
        """The query, with the last value of each name."""
        return dict(self.pairs)

    def body(self) -> Any:
        """The body as JSON.

        Raises:
            Refused: 422, it is none.
        """
        try:
            return json.loads(self.raw)
        except (ValueError, RecursionError):
            raise Refused(422, "The body is not JSON.") from None

    def body_or_none(self) -> Any:
        """The body as JSON, None when there is none.

        Raises:
            Refused: 422, there is one, and it is not JSON.
        """
        return self.body() if self.raw.strip() else None

    def number(self, name: str) -> int:
        """A path parameter that is the id of something.

        Raises:
            Refused: 404, it cannot be one.
        """
        text = self.params[name]
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise Refused(404, "There is no such resource.")
        return int(text)
