"""Who may call the pretend tenant's API, and how often. Tokens stay in here: nothing shows more than key ids."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from ampeco.signature import SigningKey
from ampeco.simulator.model import Refused


class Access:
    """The API tokens of a tenant.

    Args:
        tokens: may do everything.
        read_only_tokens: their owner may read and nothing else (403).
    """

    def __init__(self, tokens: Iterable[str], read_only_tokens: Iterable[str] = ()) -> None:
        self._tokens: dict[str, bool] = dict.fromkeys(tokens, True)  # token -> may write
        if not self._tokens:
            raise ValueError("a tenant needs at least one token, and no empty one")
        self._tokens |= {token: False for token in read_only_tokens if token not in self._tokens}
        if "" in self._tokens:
            raise ValueError("a tenant needs at least one token, and no empty one")
        self._buckets: dict[str, tuple[float, datetime]] = {}

    def __repr__(self) -> str:
        return f"Access({[known['key_id'] for known in self.shown()]})"

    def admit(self, token: str | None, *, writes: bool) -> str:
        """The token, when its owner may do this.

        Raises:
            Refused: 401 for an unknown token, 403 for one that may only read.
        """
        if token is None or token not in self._tokens:
            raise Refused(401, "The API token is missing or not valid.")
        if writes and not self._tokens[token]:
            raise Refused(403, "The owner of this API token may not do this.")
        return token

    def too_fast_s(self, token: str, rate: float, now: datetime) -> float | None:
        """Take one call of this token from its allowance.

        Args:
            rate: calls per second, and at least one; what was not used is saved for one second.

        Returns:
            None when it may be carried out, else when the next one may, in seconds.
        """
        size = max(1.0, rate)
        level, since = self._buckets.get(token, (size, now))
        level = min(size, level + max(timedelta(0), now - since).total_seconds() * rate)
        self._buckets[token] = (max(0.0, level - 1) if level >= 1 else level, now)
        return None if level >= 1 else (1 - level) / rate

    def knows(self, token: str) -> bool:
        """Whether it is a token of this tenant."""
        return token in self._tokens

    def add(self, token: str, *, read_only: bool = False) -> None:
        """From now on this token is known."""
        if not token:
            raise ValueError("a token must not be empty")
        self._tokens[token] = not read_only

    def remove(self, key_id: str | None = None) -> SigningKey:
        """Forget a token.

        Args:
            key_id: which one; None = the one known longest.

        Returns:
            What its notification subscriptions are signed with.

        Raises:
            Refused: 404, there is no such token.
        """
        for token in self._tokens:
            key = SigningKey.of(token)
            if key_id in (None, key.key_id):
                del self._tokens[token]
                self._buckets.pop(token, None)
                return key
        raise Refused(404, "There is no such API token.")

    def shown(self) -> list[dict[str, object]]:
        """The tokens by key id, the oldest first."""
        return [
            {"key_id": SigningKey.of(token).key_id, "read_only": not writes}
            for token, writes in self._tokens.items()
        ]
