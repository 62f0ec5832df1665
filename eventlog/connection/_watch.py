"""Runs one server and ends it when standard input closes, which happens when the starting process is gone.

Started by `embedded.py` as a bare script, so that it stays small and imports nothing of ours.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    # A terminal's Ctrl-C goes to the starting process, which ends the server when it is ready to.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = subprocess.Popen(  # noqa: S603 - the command is our caller's own
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        close_fds=False,  # the lock on the data folder goes along
        preexec_fn=_die_with_parent,
    )

    def end_with_starter() -> None:
        while os.read(0, 4096):
            pass
        server.terminate()

    threading.Thread(target=end_with_starter, daemon=True).start()
    return server.wait()


def _die_with_parent() -> None:
    """On Linux the server also ends when this watcher is killed."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
