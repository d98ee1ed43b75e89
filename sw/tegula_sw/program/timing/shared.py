"""What the engines of a tile share: time, memory, and the banks of the scratchpad."""

from tegula.config import TileConfig
from tegula.isa.instructions import ENGINES
from tegula_sw.program.timing.bus import ReadChannel, WriteChannel
from tegula_sw.program.timing.clock import Clock
from tegula_sw.program.timing.latencies import Latencies, latencies
from tegula_sw.program.timing.scratchpad import Accesses, BankMasks
from tegula_sw.program.timing.semaphores import Semaphores

__all__ = ["Shared"]


class Shared:
    """Time, semaphores, the memory port and the accesses to the scratchpad.

    Parameters
    ----------
    config
        The tile.
    mem_latency
        Cycles in which memory answers.

    Attributes
    ----------
    moving, stationary, vector_reads, activation_reads
        Reads of the scratchpad that come before those of a store, in falling priority; in the
        cycles in which the banks are read.
    vector_writes, activation_writes
        Writes that come before those of a load, likewise.
    """

    def __init__(self, config: TileConfig, mem_latency: int):
        self.config = config
        self.latencies: Latencies = latencies(config)
        self.clock = Clock()
        self.semaphores = Semaphores(self.clock, config, len(ENGINES), len(ENGINES) + 1)
        self.reads = ReadChannel(self.clock, mem_latency, self.latencies.bus)
        self.answers = WriteChannel(mem_latency)
        self.masks = masks = BankMasks(config)
        self.moving, self.stationary = Accesses(masks), Accesses(masks)
        self.vector_reads, self.activation_reads = Accesses(masks), Accesses(masks)
        self.vector_writes, self.activation_writes = Accesses(masks), Accesses(masks)
