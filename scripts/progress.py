"""Progress of long work with tools, on standard error."""

import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["REPEATED_SECONDS", "Progress"]

REPEATED_SECONDS = 20.0
"""Least time between two lines of progress of one phase."""

_PASS = re.compile(r"^[\d.]+\. Executing (\w+)", re.M)

_TAIL_CHARACTERS = 1 << 16


class Progress:
    """Lines on standard error: a label, the seconds since the start, and what is being done.

    Parameters
    ----------
    label
        What each line begins with.
    quiet
        Nothing is printed.
    """

    def __init__(self, label: str, *, quiet: bool = False):
        self._label = label
        self.quiet = quiet
        self._start = self._last = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def say(self, text: str) -> None:
        """Print a line."""
        self._last = time.monotonic()
        if not self.quiet:
            print(f"{self._label}: {self.seconds:5.0f} s  {text}", file=sys.stderr, flush=True)

    @contextmanager
    def watching(self, log: Path) -> Iterator[None]:
        """Lines that tell, while the block runs, which pass of Yosys its log has come to."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(REPEATED_SECONDS):
                with suppress(OSError):  # not begun yet
                    passes = _PASS.findall(log.read_text(errors="replace")[-_TAIL_CHARACTERS:])
                    self.say(f"synthesis: {passes[-1].lower()}" if passes else "synthesis")

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def say_sometimes(self, text: str) -> None:
        """Print a line, unless one was printed a moment ago."""
        if time.monotonic() - self._last >= REPEATED_SECONDS:
            self.say(text)
