"""A token in a file that a command line names."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from commands.token_file import read_token


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_line_end_behind_a_token_is_no_part_of_it(tmp_path: Path, end: str) -> None:
    (tmp_path / "token").write_text(f"s3cret{end}", newline="")
    assert read_token(tmp_path / "token") == "s3cret"


def test_a_pipe_will_do_as_a_shell_makes_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_text, args=("s3cret\n",)).start()
    assert read_token(pipe) == "s3cret"


def test_what_is_no_small_file_is_refused_and_not_cut(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("x" * 70_000)
    for large in (tmp_path / "token", "/dev/zero"):
        with pytest.raises(OSError, match="larger than 65536 bytes"):
            read_token(large)
