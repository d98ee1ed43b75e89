"""Exit codes of commands, and one line on standard error for each failure."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress

from tegula_sw.files.outputs import (
    buffer_standard_output,
    explained,
    reader_gone,
    standard_output,
)

__all__ = ["BAD_INPUT", "FAILED", "INTERRUPTED", "READER_GONE", "complain", "exit_code"]

FAILED = 1
"""The work could not be done: a trap, no space for an output, a tool that is missing."""

BAD_INPUT = 2
"""The command line, or a file that it names, is wrong."""

INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""

READER_GONE = 141
"""128 + SIGPIPE: standard output has no reader any more. There is no message."""

_LONGEST = 2000
"""Characters of a line; what is longer loses its middle."""


def complain(label: str, error: BaseException) -> None:
    """Print the line of an error: the label, the cause, and notes of the error."""
    if isinstance(error, KeyboardInterrupt):
        message = str(error) or "interrupted"
    else:
        message = explained(error)
    text = "; ".join([message, *getattr(error, "__notes__", ())])
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    with suppress(OSError):
        print(f"{label}: {text}", file=sys.stderr, flush=True)


def _flush() -> None:
    if sys.stdout is not None:
        with standard_output():
            pass


def exit_code(label: str, action: Callable[[], int | None]) -> int:
    """Exit code of a process that does `action`.

    Parameters
    ----------
    label
        What the line of an error begins with: the command.
    action
        Its ValueErrors are bad input; OSErrors, RuntimeErrors, MemoryErrors and ImportErrors are
        failures. Whatever else it raises is a bug, and is raised.

    Returns
    -------
    int
        What `action` returns, or 0 if that is None; or a code of this module.
    """
    if sys.stderr is None:  # closed before Python started; progress is written to it too
        sys.stderr = open(os.devnull, "w")
    buffer_standard_output()  # for what `print` and argparse write
    try:
        try:
            code = action() or 0
        except SystemExit:  # argparse, having printed help
            _flush()
            raise
        _flush()
    except KeyboardInterrupt as error:
        complain(label, error)
        return INTERRUPTED
    except ValueError as error:
        complain(label, error)
        return BAD_INPUT
    except (OSError, RuntimeError, MemoryError, ImportError) as error:
        if reader_gone(error):
            return READER_GONE
        complain(label, error)
        return FAILED
    return code
