"""The signing keys that a receiver accepts, which secret files and a rotation may change."""

from __future__ import annotations

from ampeco.signature import SigningKey
from eventlog.replicas import Replica
from receiver.logging import get_logger
from receiver.settings import Settings
from receiver.verification import Verifier

_log = get_logger(__name__)


class AcceptedKeys:
    """The keys of one receiver."""

    def __init__(self, verifier: Verifier, settings: Settings) -> None:
        self._verifier = verifier
        self._settings = settings

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the keys, in the order in which they are tried."""
        return self._verifier.key_ids

    def use(self, fresh: Settings) -> None:
        """Accept the keys of settings that were read again."""
        self._settings = fresh
        keys = list(fresh.accepted_keys)
        if fresh.signing_keys is None:
            # AMPECO keeps signing with the token that subscribed, even when we call it with another token.
            keys += [key for key in self._verifier.keys if key not in keys]
        self._accept(keys)

    def drop(self, dropped: frozenset[str]) -> None:
        """Stop accepting a key that was rotated away, unless the settings still name it."""
        configured = self._settings.accepted_keys
        keys = [key for key in self._verifier.keys if key in configured or key.key_id not in dropped]
        if keys:
            self._accept(keys)

    def _accept(self, keys: list[SigningKey]) -> None:
        if keys != list(self._verifier.keys):
            self._verifier.replace(keys)
            _log.info("signing_keys.changed", accepted_key_ids=list(self.ids))

    def announced(self, name: str) -> Replica:
        """Return the record of this receiver for the other processes.

        Args:
            name: of this process among all receivers.
        """
        token = self._settings.api_token
        api_key = SigningKey.of(token.get_secret_value()).key_id if token else ""
        return Replica(name, frozenset(self.ids), api_key, self._settings.callback_url or "")
