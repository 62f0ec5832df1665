"""The base image: named by tag in the Containerfile, and by digest in a release."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess

_BASE = re.compile(r"^ARG BASE=(?P<name>[^\s@]+)(?:@(?P<digest>sha256:[0-9a-f]{64}))?$", re.MULTILINE)
_PYTHON = re.compile(r"/python:(\d+\.\d+)")
_WANTED = {("linux", "amd64"), ("linux", "arm64")}


def name(containerfile: str) -> str:
    """Return the name of the base, with its tag and without a digest.

    Raises:
        ValueError: the Containerfile names none, or more than one.
    """
    return _base(containerfile)["name"]


def python_version(containerfile: str) -> str:
    """Return the version of Python in the base, such as 3.13."""
    found = _PYTHON.search(name(containerfile))
    if found is None:
        raise ValueError("the tag of the base says no version of Python")
    return found[1]


def pinned(containerfile: str, digest: str) -> str:
    """Return the Containerfile with this digest after the tag, in place of an earlier one."""
    base = _base(containerfile)
    line = f"ARG BASE={base['name']}@{digest}"
    if _BASE.fullmatch(line) is None:
        raise ValueError(f"{digest} is not a digest: sha256: and 64 hexadecimal digits")
    return containerfile[: base.start()] + line + containerfile[base.end() :]


def digest_of(name: str) -> str:
    """Ask the registry for the digest of an image, and check that it is there for both architectures.

    Raises:
        ValueError: skopeo fails, or the image is for one architecture only.
    """
    try:
        done = subprocess.run(  # noqa: S603
            ["skopeo", "inspect", "--raw", f"docker://{name}"],  # noqa: S607
            capture_output=True,
            check=True,
        )
    except FileNotFoundError:
        raise ValueError("skopeo is not installed: apt-get install skopeo") from None
    except subprocess.CalledProcessError as error:
        raise ValueError(f"skopeo: {error.stderr.decode(errors='replace').strip()}") from None
    found = {
        (one["platform"]["os"], one["platform"]["architecture"])
        for one in json.loads(done.stdout).get("manifests", ())
        if "platform" in one
    }
    if missing := sorted(f"{system}/{machine}" for system, machine in _WANTED - found):
        raise ValueError(f"{name} is not there for {', '.join(missing)}")
    # The digest of an index is the one of its bytes.
    return f"sha256:{hashlib.sha256(done.stdout).hexdigest()}"


def _base(containerfile: str) -> re.Match[str]:
    found = list(_BASE.finditer(containerfile))
    if len(found) != 1:
        raise ValueError(f"{len(found)} lines say ARG BASE=NAME:TAG, not one")
    return found[0]
