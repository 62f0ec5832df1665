"""Reads a token from a file that a command line names. A pipe will do, such as `<(pass show ampeco)`."""

from __future__ import annotations

import errno
import re
import sys
from pathlib import Path

_MOST_BYTES = 64 << 10


def read_token(file: str | Path) -> str:
    """Return the text of a file without the line end at its end, as of secret files; `-` is standard input.

    Raises:
        OSError: it cannot be read, or it is no small file.
        ValueError: no file can have this name.
    """
    if file == "-":
        read = sys.stdin.buffer.read(_MOST_BYTES + 1)
    else:
        with Path(file).open("rb") as opened:
            read = opened.read(_MOST_BYTES + 1)
    if len(read) > _MOST_BYTES:
        raise OSError(errno.EFBIG, f"larger than {_MOST_BYTES} bytes", str(file))
    return re.sub(r"\r?\n\Z", "", read.decode(errors="surrogateescape"))
