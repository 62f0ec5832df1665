"""Our registration for notifications at AMPECO, as its API takes and answers it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict, cast

from ampeco.models.fields import read_id

_FLAGS = {
    "include_timestamp_in_signature": "includeTimestampInSignature",
    "suppress_self_notifications": "suppressSelfNotifications",
    "skip_roaming_infrastructure": "skipRoamingInfrastructure",
}
_KAFKA_TEXTS = {
    "compression_codec": "compressionCodec",
    "security_protocol": "securityProtocol",
    "sasl_mechanism": "saslMechanism",
    "sasl_username": "saslUsername",
    "sasl_password": "saslPassword",
}
_READ = {"id", "webhookId", "via", "notifications", "webhook", "callbackUrl", "kafka", *_FLAGS.values()}


class Flags(TypedDict, total=False):
    """Options of a notification subscription; those not given are not sent.

    Older tenants may ignore or refuse them. Types, defaults and effects are not publicly documented; what is said
    here follows their names. Source: the v3.251.8 index; absent at v3.110.0.
    """

    include_timestamp_in_signature: bool | None
    """Sign in the undocumented way with a timestamp; set it only with AMPECO's description of it."""
    suppress_self_notifications: bool | None
    """No notifications about what the same token did."""
    skip_roaming_infrastructure: bool | None
    """No notifications about charge points of roaming partners."""


@dataclass(frozen=True, slots=True)
class KafkaTarget:
    """A Kafka topic that AMPECO writes notifications to; None is not sent.

    Attributes:
        brokers: `host:port` of each.
        compression_codec: `none`, `gzip`, `snappy` or `lz4`.
        security_protocol: `PLAINTEXT` or `SASL_SSL`.
        sasl_mechanism: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
        sasl_password: a secret, in no `repr`.

    Source: notifications v2.0 at v3.110.0 (confirmed); record keys, headers and signatures on Kafka are not public.
    """

    topic: str
    brokers: tuple[str, ...]
    compression_codec: str | None = None
    security_protocol: str | None = None
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, data: Any) -> "KafkaTarget | None":
        """From an answer of the API; None when it names no topic."""
        if not isinstance(data, dict) or not isinstance(data.get("topic"), str):
            return None
        texts = {name: data.get(wire) for name, wire in _KAFKA_TEXTS.items()}
        return cls(
            data["topic"],
            _texts(data.get("brokers")),
            **{name: text for name, text in texts.items() if isinstance(text, str)},
        )

    def body(self) -> dict[str, Any]:
        """As the API takes it, the password included."""
        given = {wire: getattr(self, name) for name, wire in _KAFKA_TEXTS.items()}
        return {
            "topic": self.topic,
            "brokers": list(self.brokers),
            **{name: value for name, value in given.items() if value is not None},
        }


@dataclass(frozen=True, slots=True)
class NotificationSubscription:
    """A notification subscription (not a customer's plan, which AMPECO calls subscription).

    Attributes:
        via: `webhook` or `kafka`.
        notifications: the subscribed types.
        callback_url: where AMPECO delivers to; None unless `via` is webhook.
        kafka: the topic; None unless `via` is kafka.
        flags: the options that AMPECO shows, see `Flags`.
        unknown: further members of the answer.
    """

    id: str
    via: str
    notifications: tuple[str, ...]
    callback_url: str | None
    kafka: KafkaTarget | None = None
    flags: Flags = field(default_factory=Flags, hash=False)
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    @classmethod
    def read(cls, data: Any) -> "NotificationSubscription | None":
        """From an answer of the API, v2.0 or the older v1.0 shape; None when it is neither.

        Source: notifications v2.0 at v3.110.0 (`id`, `webhook.callbackUrl`) and v1.0 (`webhookId`,
        `callbackUrl`): confirmed; how the two id spaces relate is not publicly documented.
        """
        if not isinstance(data, dict):
            return None
        found = read_id(data.get("id")) or read_id(data.get("webhookId"))
        if found is None:
            return None
        webhook = data.get("webhook")
        url = webhook.get("callbackUrl") if isinstance(webhook, dict) else data.get("callbackUrl")
        via = data.get("via")
        return cls(
            found,
            via if isinstance(via, str) else "webhook",
            _texts(data.get("notifications")),
            url if isinstance(url, str) else None,
            KafkaTarget.read(data.get("kafka")),
            _read_flags(data),
            {name: value for name, value in data.items() if name not in _READ},
        )


def flags_body(flags: Mapping[str, Any]) -> dict[str, bool]:
    """Flags as the API takes them.

    Raises:
        TypeError: a name is none of `Flags`.
    """
    if foreign := flags.keys() - _FLAGS.keys():
        raise TypeError(f"no option of a notification subscription: {', '.join(sorted(foreign))}")
    return {_FLAGS[name]: value for name, value in flags.items() if value is not None}


def _read_flags(data: Mapping[str, Any]) -> Flags:
    shown = {name: data.get(wire) for name, wire in _FLAGS.items()}
    return cast("Flags", {name: value for name, value in shown.items() if isinstance(value, bool)})


def _texts(items: Any) -> tuple[str, ...]:
    return tuple(text for text in items if isinstance(text, str)) if isinstance(items, list) else ()
