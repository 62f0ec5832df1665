"""Chance that can be repeated: whether one of many is hit depends on the seed and on its number, on nothing else.

No generator with a state, because deliveries and calls come in an order that the machine decides.
"""

from hashlib import blake2b

_ALL = 1 << 64


def hit(share: float, seed: int, *what: str | int) -> bool:
    """Whether this one belongs to the share.

    Args:
        share: 0 to 1.
        what: names the one, e.g. ("late", delivery id).
    """
    if share <= 0:
        return False
    text = ":".join(map(str, (seed, *what)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) < share * _ALL
