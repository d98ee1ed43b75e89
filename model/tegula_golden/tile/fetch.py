"""Beats that the fetch of a program takes, with those that loops let it take again.

The fetch holds the last `loop_granules` granules. It requests bursts as long as it is no more than
`ahead_granules` ahead of the granule behind the one that is being decoded, and a jump that fetches
again waits until it is: so how far it has come then does not depend on time.
"""

from tegula.config import TileConfig
from tegula.isa.instructions import GRANULE_BYTES

__all__ = ["FetchedBeats"]


class FetchedBeats:
    """Beats of a program of `granules` granules from byte address `program` on.

    Attributes
    ----------
    count
        Beats that are fetched if no jump follows.
    """

    def __init__(self, config: TileConfig, program: int, granules: int):
        self._config = config
        self._bytes = config.bus_bytes
        self._burst = config.max_burst_beats
        self._total = -(-granules * GRANULE_BYTES // self._bytes)
        self._offset = program // self._bytes % self._burst
        """Beats of the first burst's block that come before the program."""
        self._begin = 0
        """First beat since the last jump that fetched again."""
        self.count = self._total

    def jump(self, end: int, target: int) -> None:
        """Account for a jump from the `control.end` in granule `end` to granule `target`."""
        if end + 1 - target <= self._config.body_granules:
            return
        fetched = self._fetched(((end + 2) * GRANULE_BYTES - 1) // self._bytes + 1)
        block = (self._offset + target * GRANULE_BYTES // self._bytes) // self._burst
        self._begin = max(0, block * self._burst - self._offset)
        self.count += fetched - self._begin

    def _fetched(self, taken: int) -> int:
        """Number of the first beat that is not requested when `taken` beats are taken."""
        ahead = self._config.ahead_granules * GRANULE_BYTES // self._bytes
        taken, beat = min(taken, self._total), self._begin
        while beat < self._total and beat - taken <= ahead - self._burst:
            block = (self._offset + beat) // self._burst
            beat = min(self._total, (block + 1) * self._burst - self._offset)
        return beat
