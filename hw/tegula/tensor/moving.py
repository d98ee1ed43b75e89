"""Moving side of the tensor engine: a column a cycle, and the addresses of its partial sums."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.engine.interface import payload_layout
from tegula.engine.sequencing import CHECKED_ADDRESS_BITS
from tegula.formats import FORMAT_BITS
from tegula.isa.instructions import PARTITION_BITS, PC_BITS
from tegula.isa.tensor import PSUM_ADDRESS_BITS
from tegula.isa.traps import CAUSE_BITS, Trap
from tegula.tensor.psum import reuse_cycles
from tegula.tensor.written_map import MarkSignature

__all__ = ["MovingStreamer"]


class MovingStreamer(wiring.Component):
    """Issue of column f of a matmul: word ``addr + f * stride`` and PSUM word ``psum_addr + f``.

    One column a cycle. A column that accumulates waits while a column of the same PSUM word, issued
    less than `reuse_cycles` ago, is still in the array. Matmuls follow each other without a gap.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    start : In(1), matmul : In(payload of tensor.matmul), pc : In(PC_BITS)
        Begin in the next cycle; only while `ready`.
    fresh : In(1)
        With `start`: this matmul uses the operand in the chain.
    stop : In(1)
        Drop the work.
    mark : Out(MarkSignature)
        The PSUM word of the column that is issued.
    active : Out(1)
        A column is left, and its operand is read in this cycle, whether it is issued or not.
    issued : Out(1)
        A column is issued in this cycle, with:
    addr : Out(CHECKED_ADDRESS_BITS), psum_addr : Out(PSUM_ADDRESS_BITS + 1)
    accumulate, swap : Out(1), rows : Out(PARTITION_BITS), format : Out(FORMAT_BITS)
        Its addresses and attributes.
    last : Out(1)
        It is the matmul's last.
    ready, idle : Out(1)
        A matmul may start in this cycle; nothing is in work.
    cause : Out(CAUSE_BITS), trap_pc : Out(PC_BITS)
        Trap of the next column, which holds until `stop`, or `Trap.NONE`.
    """

    def __init__(self, config: TileConfig):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "matmul": In(payload_layout("tensor.matmul")),
                "pc": In(PC_BITS),
                "fresh": In(1),
                "stop": In(1),
                "mark": Out(MarkSignature(config)),
                "active": Out(1),
                "issued": Out(1),
                "addr": Out(CHECKED_ADDRESS_BITS),
                "psum_addr": Out(PSUM_ADDRESS_BITS + 1),
                "accumulate": Out(1),
                "swap": Out(1),
                "rows": Out(PARTITION_BITS),
                "format": Out(FORMAT_BITS),
                "last": Out(1),
                "ready": Out(1),
                "idle": Out(1),
                "cause": Out(CAUSE_BITS),
                "trap_pc": Out(PC_BITS),
            }
        )

    def elaborate(self, platform):
        """Checks of the column, wait while its word is in flight, advance."""
        m = Module()
        left = Signal.like(self.matmul.columns)
        stride = Signal(self.matmul.stride.shape())
        first_of_operand = Signal()
        hazard = self._find_hazard(m)
        active = self.active
        with m.If(active & self.mark.ready):
            with m.If(self.addr >= self.config.sbuf_depth):
                m.d.comb += self.cause.eq(Trap.SBUF_RANGE)
            with m.Elif(self.psum_addr >= self.config.psum_depth):
                m.d.comb += self.cause.eq(Trap.PSUM_RANGE)
            with m.Elif(self.accumulate & ~self.mark.written):
                m.d.comb += self.cause.eq(Trap.PSUM_UNWRITTEN)
        m.d.comb += [
            self.issued.eq(active & self.mark.ready & ~hazard & (self.cause == Trap.NONE)),
            self.last.eq(left == 1),
            self.idle.eq(~active),
            self.ready.eq(~active | (self.issued & self.last)),
            self.swap.eq(first_of_operand),
            self.mark.addr.eq(self.psum_addr),
            self.mark.en.eq(self.issued),
        ]
        with m.If(self.issued):
            m.d.sync += [
                left.eq(left - 1),
                self.addr.eq(self.addr + stride),
                self.psum_addr.eq(self.psum_addr + 1),
                first_of_operand.eq(0),
                active.eq(~self.last),
            ]
        with m.If(self.start):
            m.d.sync += [
                left.eq(self.matmul.columns),
                active.eq(1),
                self.addr.eq(self.matmul.addr),
                stride.eq(self.matmul.stride),
                self.psum_addr.eq(self.matmul.psum_addr),
                self.accumulate.eq(self.matmul.accumulate),
                self.rows.eq(self.matmul.rows),
                self.format.eq(self.matmul.format),
                first_of_operand.eq(self.fresh),
                self.trap_pc.eq(self.pc),
            ]
        with m.If(self.stop):
            m.d.sync += active.eq(0)
        return m

    def _find_hazard(self, m):
        """Hazard: the next column would read a word that is still in the array."""
        word = self.psum_addr[: (self.config.psum_depth - 1).bit_length()]
        matches = []
        valid, address = self.issued, word
        for age in range(1, reuse_cycles(self.config)):
            held_valid = Signal(name=f"in_flight_{age}")
            held_address = Signal.like(word, name=f"in_flight_addr_{age}")
            m.d.sync += [held_valid.eq(valid), held_address.eq(address)]
            matches.append(held_valid & (held_address == word))
            valid, address = held_valid, held_address
        hazard = Signal()
        m.d.comb += hazard.eq(self.accumulate & Cat(matches).any())
        return hazard
