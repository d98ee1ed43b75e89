"""A lane's part of quantisation: largest magnitude and scale of a block, elements by it."""

from itertools import pairwise

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.mx import MxCompress, MxExpand, compressed_layout, scale_of
from tegula.config import TileConfig
from tegula.lib.delay import registered
from tegula.lib.storage import add_lut_memory
from tegula.vector.layouts import block_controls_layout

__all__ = ["BlockScaler"]


class BlockScaler(wiring.Component):
    """Numbers on their way to a `BlockQueue` and back: ``number / 2**(scale - 127)``.

    The largest magnitude of the partition's block is kept in a register, and what its scale would
    be is written into a memory with every number: that of the last one stands. Partitions that
    share the lane come in turn, so that their largest are a ring of registers.

    Latency: a number is `stored` after ``1 + MxCompress.LATENCY`` cycles, its scale in the memory
    after 4; from `fetched` to `number` it is ``1 + MxExpand.LATENCY``.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    controls : In(block_controls_layout)
        What to do in this cycle.
    pattern : In(32)
        A result of the lane, fp32.
    stored : Out(compressed_layout()), fetched : In(compressed_layout())
        To the queue, and from it.
    number : Out(32)
        For the cast: an element before it is rounded, or a scale.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "controls": In(block_controls_layout(config)),
                "pattern": In(32),
                "stored": Out(compressed_layout()),
                "fetched": In(compressed_layout()),
                "number": Out(32),
            }
        )

    def elaborate(self, platform):
        """Arrival, largest magnitude, scale; departure."""
        m = Module()
        controls = self.controls
        m.submodules.compress = compress = MxCompress()
        m.submodules.expand = expand = MxExpand()
        arrived = registered(m, self.pattern, name="arrived")
        largest = self._maximise(m, arrived[:31])
        scale = registered(m, scale_of(m, self._config, largest, controls.kind), name="scale_later")
        scales = add_lut_memory(
            m,
            "scales",
            8,
            1 << len(controls.scale_write_addr),
            write=(controls.scale_write, controls.scale_write_addr, scale),
            read=controls.scale_read_addr,
        )
        m.d.comb += [
            compress.pattern.eq(arrived),
            self.stored.eq(compress.compressed),
            expand.compressed.eq(registered(m, self.fetched, name="fetched_later")),
            expand.scale.eq(scales),
            expand.e2m1.eq(controls.kind.e2m1),
            expand.is_scale.eq(controls.is_scale),
            self.number.eq(expand.number),
        ]
        return m

    def _maximise(self, m: Module, magnitude) -> Signal:
        """Largest magnitude of the block so far, of the partition that came a cycle ago."""
        ring = [
            Signal(31, name=f"largest_{part}", reset_less=True)
            for part in range(self._config.vector_folding)
        ]
        before, exceeds = ring[-1], Signal()
        m.d.comb += exceeds.eq((magnitude > before) | self.controls.first)
        with m.If(self.controls.takes):
            m.d.sync += ring[0].eq(Mux(exceeds, magnitude, before))
            m.d.sync += [later.eq(earlier) for earlier, later in pairwise(ring)]
        return ring[0]
