"""Arrays without a shape on a tile: contiguous elements spread over the partitions, block by block.

A block is `rows` runs of `length` elements, one run a partition, followed by a shorter run where
the array ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tegula.config import TileConfig
from tegula.isa.instructions import Engine, Layout
from tegula_sw.program.schedule import Op, dma_op

__all__ = ["Block", "spread"]


@dataclass(frozen=True)
class Block:
    """`rows` runs of `length` elements from element `start` on, then one of `tail` < `length`."""

    start: int
    rows: int
    length: int
    tail: int

    @property
    def partitions(self) -> int:
        """Partitions that hold elements: the first ones."""
        return self.rows + (self.tail > 0)

    @property
    def columns(self) -> int:
        """Elements of the fullest partition."""
        return self.length if self.rows else self.tail

    def _parts(self) -> Iterator[tuple[int, int, int, int]]:
        """(first element, first partition, runs, elements a run) of each transfer."""
        if self.rows:
            yield self.start, 0, self.rows, self.length
        if self.tail:
            yield self.start + self.rows * self.length, self.rows, 1, self.tail

    def transfers(
        self, config: TileConfig, engine: Engine, memory: int, width: int, sbuf: int
    ) -> list[Op]:
        """One or two instructions that move the block between memory and scratchpad.

        Parameters
        ----------
        config
            The tile.
        engine
            LOAD or STORE.
        memory
            Address of element 0 of the array, in bytes.
        width
            Bits of an element in memory: 8, 16 or 32. In the scratchpad one of 32 takes two words.
        sbuf
            Scratchpad address of the first element of each partition, the start of a line.
        """
        ops = []
        for start, partition, runs, elements in self._parts():
            run = elements * max(1, width // 16)
            op = dma_op(
                config,
                engine,
                -(-run // config.bus_words),
                [(runs, elements * width // 8, 0, 1)],
                mem_addr=memory + start * width // 8,
                run=run,
                sbuf_addr=sbuf,
                partition=partition,
                layout=Layout.FREE,
                bytes1=int(width == 8),
            )
            ops.append(op)
        return ops


def spread(config: TileConfig, count: int, longest: int) -> list[Block]:
    """Blocks that cover `count` elements, with runs of at most `longest`, a multiple of a line."""
    full = config.n * longest
    return [_block(config, start, min(full, count - start)) for start in range(0, count, full)]


def _block(config: TileConfig, start: int, count: int) -> Block:
    lines = -(-count // (config.n * config.bus_words))
    length = lines * config.bus_words
    rows, tail = divmod(count, length)
    return Block(start, rows, length, tail)
