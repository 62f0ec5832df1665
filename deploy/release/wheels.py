"""Checks that an index has a wheel of each locked package for both architectures, with a hash of the lock.

pip downloads them as the build of the image does. It judges markers by the machine that it runs on, so they are
judged here, for the machine that is asked about.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deploy.release.locked import MACHINES, Locked

_GLIBC = (28, 17)  # of manylinux: 2.28 is Debian 10, 2.17 is manylinux2014


def missing(locked: Sequence[Locked], python: str, pip_arguments: Sequence[str] = ()) -> list[str]:
    """Return each package and platform without a wheel, and what pip says, as text.

    Args:
        python: version of Python, such as 3.13.
        pip_arguments: further words for pip, such as an index.
    """
    found = []
    for platform, machine in MACHINES.items():
        needed = [one for one in locked if one.is_needed(python, machine)]
        if not _refusal(needed, python, machine, pip_arguments):
            continue
        # pip stops at the first one, and a release wants to know all.
        found += [
            f"{one.name} {one.version} for {platform}, Python {python}: {why}"
            for one in needed
            if (why := _refusal([one], python, machine, pip_arguments))
        ]
    return found


def _refusal(locked: Sequence[Locked], python: str, machine: str, pip_arguments: Sequence[str]) -> str:
    """Return why pip cannot download all of them; empty if it can."""
    tags = [f"manylinux_2_{minor}_{machine}" for minor in _GLIBC] + [f"manylinux2014_{machine}"]
    short = f"cp{python.replace('.', '')}"
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "lock.txt"
        lock.write_text("\n".join(one.requirement for one in locked) + "\n")
        done = subprocess.run(  # noqa: S603 - the words are ours and the caller's
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
                *("--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-cache-dir"),
                *(word for tag in tags for word in ("--platform", tag)),
                *("--python-version", python, "--implementation", "cp"),
                *(word for abi in (short, "abi3", "none") for word in ("--abi", abi)),
                *("--dest", folder, "--requirement", str(lock), *pip_arguments),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    if not done.returncode:
        return ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    return errors[-1].removeprefix("ERROR: ") if errors else f"pip ended with {done.returncode}"
