"""The golden model as a device."""

from collections.abc import Sequence

from tegula.config import TileConfig
from tegula_golden.tile.job import Job
from tegula_golden.tile.simulator import GoldenTile
from tegula_sw.devices.base import Device, RunResult

__all__ = ["GoldenDevice"]


class GoldenDevice(Device):
    """Programs on the functional simulator: bit-exact, without a clock.

    Results have no cycles and no counters.

    Parameters
    ----------
    config
        The tile.
    errors
        (first byte, last byte, "slverr" or "decerr"): reads and writes there fail.

    Attributes
    ----------
    tile
        The simulator; its scratchpad survives from program to program.
    """

    def __init__(self, config: TileConfig, *, errors: Sequence[tuple[int, int, str]] = ()):
        self.config = config
        self.tile = GoldenTile(config, errors=errors)

    def _execute(self, job: Job) -> RunResult:
        run = self.tile.execute(job)
        return RunResult(
            trap=run.trap, cycles=None, read_beats=run.read_beats, write_beats=run.write_beats
        )
