"""Run one server, and stop it when standard input closes: then the starting process is gone.

`embedded.py` starts this file as a bare script, so it imports nothing of ours and stays small.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    # A terminal's Ctrl-C goes to the starting process, which stops the server in its own order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)  # what the server writes is for this user alone
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
    """Ask Linux to stop the server when this watcher is killed."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
