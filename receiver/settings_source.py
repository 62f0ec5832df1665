"""Where settings come from: the environment and a folder of secret files.

It reads texts and refuses unknown names, empty values, a name set twice, and values that Kubernetes put there.
It does not check values: `settings.py` does.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ampeco.key_text import unseen_character
from ampeco.nearest import nearest
from ampeco.regular_file import read_regular
from receiver.errors import SettingsError
from receiver.settings_checks import expanded, home_of

PREFIX = "AWR_"
SECRETS_DIR = "AWR_SECRETS_DIR"
_FILE_PATHS = ("AWR_DATA_DIR", "AWR_ENTITY_KEYS_FILE", SECRETS_DIR)

_LINKED_NAME = re.compile(
    r"AWR(_\w+)?(_SERVICE_(HOST|PORT(_\w+)?)|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_LINKED_VALUE = re.compile(r"(tcp|udp|sctp)://\S+:\d+")


@dataclass(frozen=True, slots=True)
class Given:
    """One value as text, and its source: `env` or `file`."""

    text: str
    source: str


def read(
    environ: Mapping[str, str], known: Collection[str], without: Collection[str] = ()
) -> dict[str, Given]:
    """Return the unparsed value of every setting that is set, by its name.

    Args:
        without: names of files that are left out.

    Raises:
        SettingsError: an unknown name, an empty value, a name set in both places, or a service link.
    """
    given: dict[str, Given] = {}
    for name, text in environ.items():
        if name.startswith(PREFIX) and _is_setting(name, text, known):
            given[name] = Given(_usable(name, text, environ), "env")
    if SECRETS_DIR in given:
        for name, text in _read_files(Path(given[SECRETS_DIR].text), known, without).items():
            if name in given:
                raise SettingsError(
                    name, f"is set in the environment and in {SECRETS_DIR}", "remove one of them"
                )
            given[name] = Given(_usable(name, text, environ), "file")
    return given


def _usable(name: str, text: str, environ: Mapping[str, str]) -> str:
    """Return a value; refuse what no setting can be, before anything else is made of it."""
    if not text.strip():
        raise SettingsError(name, "is empty", "give it a value or unset it")
    if (fault := unseen_character(text, allowed="\t\r\n")) is not None:
        raise SettingsError(name, fault, "type the value again; save a file as UTF-8 without BOM")
    bare = text.strip()
    if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'":
        raise SettingsError(name, "is in quotes, which are part of the value here", "leave them out")
    return expanded(name, text, environ) if name in _FILE_PATHS else text


def state_folder(environ: Mapping[str, str]) -> Path | None:
    """Return the default folder for data: systemd's, else the one of the XDG specification; None without HOME."""
    if environ.get("STATE_DIRECTORY"):  # systemd may name several
        return Path(environ["STATE_DIRECTORY"].split(":")[0])
    if environ.get("XDG_STATE_HOME"):
        return Path(environ["XDG_STATE_HOME"]) / "ampeco-receiver"
    home = home_of(environ)
    return None if home is None else Path(home) / ".local/state/ampeco-receiver"


def _is_setting(name: str, text: str, known: Collection[str]) -> bool:
    """Return False for a Kubernetes service link, which is ignored; refuse every other unknown name."""
    if name in known:
        if _LINKED_VALUE.fullmatch(text) and not name.endswith("_URL"):
            raise SettingsError(
                name,
                "holds a Kubernetes service link, not a value",
                "set enableServiceLinks: false in the pod, or rename the Service",
            )
        return True
    if _LINKED_NAME.fullmatch(name) or (name.endswith("_PORT") and _LINKED_VALUE.fullmatch(text)):
        return False
    near = nearest(name, known)
    raise SettingsError(name, "unknown setting", "unset it" if near is None else f"did you mean {near}?")


def _read_secret(path: Path) -> str:
    try:
        return read_regular(path).decode(errors="surrogateescape")
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EISDIR, errno.EFBIG, errno.ENXIO):
            raise
        raise SettingsError(
            path.name,
            f"cannot be read from {SECRETS_DIR} ({error.strerror})",
            "put a small text file there",
        ) from None


def _read_files(folder: Path, known: Collection[str], without: Collection[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    try:
        for path in sorted(folder.iterdir()):
            if path.name.startswith(PREFIX) and path.name not in without:
                texts[path.name] = _read_secret(path)
    except OSError as error:
        raise SettingsError(
            SECRETS_DIR, f"cannot be read ({error.strerror})", "make it a folder of readable text files"
        ) from None
    for name, text in texts.items():
        _is_setting(name, text, known)
        if name == SECRETS_DIR:
            raise SettingsError(name, "cannot be a file in its own folder", "set it in the environment")
    return {name: re.sub(r"\r?\n\Z", "", text) for name, text in texts.items()}
