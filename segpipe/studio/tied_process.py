"""Runs a Python module until the process that started it ends or lets go, however that ends.

``python -m segpipe.studio.tied_process MODULE ARGUMENTS…``: the parent holds the other end of this
process's standard input. It closes when the parent wants so, and also when the parent is killed.
Then this process and all that it has started are told to stop: it leads a group of its own.
"""

import os
import runpy
import signal
import sys
import threading


def _stop_when_let_go() -> None:
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGTERM)


def main() -> None:
    """Run the module that the arguments name."""
    del sys.argv[0]
    threading.Thread(target=_stop_when_let_go, daemon=True).start()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
