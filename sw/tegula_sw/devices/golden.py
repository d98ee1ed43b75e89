"""The golden model as a device."""

from collections.abc import Sequence

from tegula.config import TileConfig
from tegula_golden.array_types import Bytes
from tegula_golden.tile.simulator import GoldenTile
from tegula_sw.devices.base import RunResult

__all__ = ["GoldenDevice"]


class GoldenDevice:
    """Programs on the functional simulator: bit-exact, without a clock.

    Implements `tegula_sw.devices.base.Device`; results have no cycles and no counters.

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

    def run(
        self,
        memory: Bytes,
        *,
        program: int,
        program_bytes: int,
        base: int = 0,
        window: tuple[int, int] | None = None,
        watchdog: int | None = None,
    ) -> RunResult:
        """Run a program; see `tegula_sw.devices.base.Device.run`.

        Raises
        ------
        ValueError
            If an argument is malformed.
        """
        run = self.tile.run(
            memory,
            program=program,
            program_bytes=program_bytes,
            base=base,
            window=window,
            watchdog=watchdog,
        )
        return RunResult(
            trap=run.trap, cycles=None, read_beats=run.read_beats, write_beats=run.write_beats
        )
