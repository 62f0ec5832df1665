"""The tokens that one process has drawn and may spend within the next 100 ms."""

from collections.abc import Callable

from ampeco.own_rate import Drawn

CHUNK_S = 0.1
"""What is drawn lasts no longer; then the rest is given back."""


class TokenChunk:
    """Tokens of the last draw, and the calls that were made since.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tokens = {True: 0, False: 0}  # reserved ones, ordinary ones
        self._is_free = False  # no limit is known: calls need no token
        self._good_until_s = float("-inf")
        self._used = {True: 0, False: 0}
        self.used_before = {True: 0, False: 0}

    def __bool__(self) -> bool:
        return any(self._used.values()) or any(self._tokens.values())

    @property
    def is_good(self) -> bool:
        """Whether it is not too old."""
        return self._clock() < self._good_until_s

    def fill(self, drawn: Drawn) -> None:
        """Take in what was drawn."""
        self._is_free = drawn.per_s is None and not drawn.reserved_wait_s
        self._tokens = {True: drawn.reserved, False: drawn.ordinary}
        self._good_until_s = self._clock() + CHUNK_S

    def take(self, *, reserved: bool) -> bool:
        """Take a token for one call. A reserved call may take an ordinary one."""
        if not self._is_free:
            kind = reserved and self._tokens[True] > 0
            if not self._tokens[kind]:
                return False
            self._tokens[kind] -= 1
        self._used[reserved] += 1
        return True

    def give_back(self, reserved: bool) -> None:
        """Take a token back whose call was not made."""
        self._used[reserved] -= (
            1  # below zero when a draw has reported it already: the next report makes up for it
        )
        if self.is_good and not self._is_free:
            self._tokens[reserved] += 1

    def drop(self) -> int:
        """Spend nothing more of it; return how many tokens are left."""
        left = sum(self._tokens.values())
        self._tokens, self._is_free, self._good_until_s = {True: 0, False: 0}, False, float("-inf")
        return left

    def end(self) -> dict[str, int]:
        """Return what to tell the bucket: calls of each kind, and tokens to give back."""
        used, self._used = self._used, {kind: min(0, calls) for kind, calls in self._used.items()}
        self.used_before = {kind: max(0, calls) for kind, calls in used.items()}
        return {
            "used_reserved": self.used_before[True],
            "used": self.used_before[False],
            "back": self.drop(),
        }
