"""Programs of Debian that some tests need: which package holds each, and what does not run without it.

`.ci/run` installs what is missing. `make test` without them ends with one line that names what did not run.
"""

from __future__ import annotations

import shutil
import sys

PROGRAMS = {
    "redis-server": ("redis-server", "Debian's Redis next to Valkey, and TLS"),
    "openssl": ("openssl", "TLS, and certificates"),
    "promtool": ("prometheus", "alert rules, and the format of metrics"),
    "kubectl": ("", "the rendered manifests"),
    "chromium": ("chromium", "the console in a browser"),
    "buildah": ("buildah", "the image, built and run"),
}
"""Program -> its package ('' = Debian has none), and what is not tested without it."""


def missing() -> list[str]:
    """Return the programs that this machine does not have."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def not_run() -> str:
    """Return the line that says what did not run; '' when everything did."""
    lacking = missing()
    return (
        "not run: " + "; ".join(f"{PROGRAMS[program][1]} (no {program})" for program in lacking)
        if lacking
        else ""
    )


if __name__ == "__main__":  # python -m tests.programs: the packages that are missing, for .ci/run
    sys.stdout.write(" ".join(filter(None, (PROGRAMS[program][0] for program in missing()))))
