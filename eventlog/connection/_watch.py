"""Runs one server, and ends it when standard input closes because the starting process has ended.

`embedded.py` starts it as a bare script. It stays small and imports nothing of ours.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    # On Ctrl-C the starting process decides when to end the server.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = subprocess.Popen(  # noqa: S603 - the command is our caller's own
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        close_fds=False,  # the server inherits the lock on the data folder
        preexec_fn=_die_with_parent,
    )

    def end_with_starter() -> None:
        while os.read(0, 4096):
            pass
        server.terminate()

    threading.Thread(target=end_with_starter, daemon=True).start()
    return server.wait()


def _die_with_parent() -> None:
    """Make the server end too when this watcher is killed (Linux only)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
