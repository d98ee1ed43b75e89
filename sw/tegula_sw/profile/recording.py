"""Recordings of programs on a traced tile."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tegula.config import TileConfig
from tegula.isa.traps import TrapRecord

__all__ = ["Recorder", "Recording", "check_recordings"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """One program.

    Attributes
    ----------
    config
        The tile.
    program
        Its bytes.
    cycles
        Doorbell to interrupt, as the tile counts them.
    changes
        By port (`tegula.engine.trace.PORTS`): an array with fields `cycle` and `word` (uint64), in
        the order of cycles, which count from an arbitrary one on. A word holds from its cycle to
        that of the next. They begin before the program does and end after it.
    label
        What the program is, for those who look at it.
    trap
        How it ended; None if with `halt`.
    """

    config: TileConfig
    program: bytes
    cycles: int
    changes: dict[str, NDArray[np.void]]
    label: str = ""
    trap: TrapRecord | None = None


def check_recordings(recordings: Sequence[Recording]) -> None:
    """Check that at least one program was recorded.

    Raises
    ------
    ValueError
        If none was.
    """
    if not recordings:
        raise ValueError("there is no recording: no program ran")


@dataclass(kw_only=True)
class Recorder:
    """Collects recordings of the programs of an `RtlDevice` that is made with it.

    ::

        recorder = Recorder()
        device = RtlDevice(config, recorder=recorder)
        recorder.label = "forward"  # of the programs that follow
        device.run(...)
        recorder.active = False  # the programs that follow are not recorded

    Attributes
    ----------
    active
        Whether the programs that start from here on are recorded.
    label
        Label of the programs that end from here on.
    max_changes
        Changes of a program that may be kept, 16 bytes each.
    recordings
        The programs in the order in which they ran.
    """

    active: bool = True
    label: str = ""
    max_changes: int = 100_000_000
    recordings: list[Recording] = field(default_factory=list)

    def add(self, recording: Recording) -> None:
        """Keep a recording."""
        self.recordings.append(recording)

    def check_size(self, changes: int) -> None:
        """Check that the running program does not take all memory.

        Raises
        ------
        ValueError
            If it has changed more often than `max_changes`.
        """
        if changes > self.max_changes:
            raise ValueError(
                f"the trace of a program has more than {self.max_changes} changes:"
                " trace a shorter one"
            )
