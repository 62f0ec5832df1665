"""The typical sample of every notification type -> `ampeco/simulator/bodies.json`, which is there at run time."""

import json
from pathlib import Path

from ampeco.generator.facts import PACKAGE, ROOT

SAMPLES = ROOT / "tests" / "samples"


def outputs() -> dict[Path, str]:
    """Type -> body, sorted; `ampeco.simulator.samples` reads it."""
    bodies = {
        path.parents[1].name: json.loads(path.read_bytes())
        for path in sorted(SAMPLES.glob("*/typical/body.json"))
    }
    return {PACKAGE / "simulator" / "bodies.json": json.dumps(bodies, indent=1, sort_keys=True) + "\n"}
