"""Entry of the command `tegula`, also as `python -m tegula_sw.cli`.

All modules of the command are imported inside the guard, so that Ctrl-C while they are imported
ends it as at any other time. What this file and its packages import is loaded by Python anyway.
"""

import sys

__all__ = ["entry"]

_INTERRUPTED = 130
"""`tegula_sw.cli.exits.INTERRUPTED`, which may not have been imported."""


def entry() -> int:
    """Run the command line of the process; its exit code, as `tegula_sw.cli.parser.main`."""
    try:
        from tegula_sw.cli.parser import main

        return main()
    except KeyboardInterrupt:  # main catches those of the work
        if sys.stderr is not None:
            print("tegula: interrupted", file=sys.stderr, flush=True)
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(entry())
