"""`python -m local run` and `python -m local demo`: what `make run` and `make demo` start.

A thin first module: until everything is loaded there is nothing to clean up, so Ctrl-C may simply
end the process, without a traceback of half an import.
"""

import importlib
import signal
import sys

for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(kind, signal.SIG_DFL)

module = importlib.import_module(f"local.{sys.argv[1]}")
from local.run import exit_cleanly  # noqa: E402 - after the signals

exit_cleanly(module.main)
