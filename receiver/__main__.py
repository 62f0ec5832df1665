"""`python -m receiver`: the old name of `python -m commands`.

Run by name: the room that serves HTTP imports neither commands nor plugins.
"""

import runpy

if __name__ == "__main__":
    runpy.run_module("commands", run_name="__main__", alter_sys=True)
