"""Bodies of every notification type: what the contract has, and the liberal shapes that we read as well."""

from pathlib import Path

from ampeco.contract.samples import sampled, samples

_LIBERAL = sorted((Path(__file__).parent / "samples").glob("*/*/body.json"))

BODIES: dict[str, bytes] = {
    **{f"{one.notification}/{one.case}": one.raw for name in sampled() for one in samples(name)},
    **{f"{path.parents[1].name}/{path.parent.name}": path.read_bytes() for path in _LIBERAL},
}
"""Type and case -> body."""
