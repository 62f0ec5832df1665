"""`ampeco-receiver simulator`: what it costs to be asked for help."""

import subprocess
import sys

_IMPORTED = """
import sys
import commands.simulator

heavy = {"httpx2", "pydantic", "starlette", "uvicorn", "ampeco.simulator.fleet.fleet"} & sys.modules.keys()
assert not heavy, heavy
"""


def test_the_command_loads_no_server_before_it_serves() -> None:
    """The list of all commands loads each of them."""
    subprocess.run([sys.executable, "-c", _IMPORTED], check=True)
