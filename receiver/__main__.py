"""`python -m receiver`: the old name of `python -m commands`.

It runs that module by name, since this package imports neither commands nor plugins.
"""

import runpy

if __name__ == "__main__":
    runpy.run_module("commands", run_name="__main__", alter_sys=True)
