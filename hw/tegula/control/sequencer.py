"""Execution of the instructions of control: loops, registers and reads of memory."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.bus.axi import WindowSignature
from tegula.config import TileConfig
from tegula.control.control_words import control_field, control_layout
from tegula.control.fetch import jump_layout
from tegula.control.reads import number_layout, read_layout
from tegula.control.semaphores import wait_layout
from tegula.isa.instructions import (
    CODE_BITS,
    LOOP_COUNT_BITS,
    LOOP_DEPTH,
    MEMORY_ADDRESS_BITS,
    PC_BITS,
    REGISTER_BITS,
    RELATIVE_SLOTS,
    by_mnemonic,
)
from tegula.isa.traps import CAUSE_BITS, Trap
from tegula.lib.storage import add_lut_memory

__all__ = ["Sequencer"]

_NAMES = ("loop", "end", "add", "read", "relative")


class Sequencer(wiring.Component):
    """Execution of one instruction of control at a time, each in the order of the program.

    Latency, from the first cycle in which it is offered to that in which it ends: none of
    `control.relative`, one cycle of `control.loop`, `control.end` (more if its jump has to wait)
    and `control.add`. A `control.read` waits for its semaphore, compares its address with the
    window (two cycles), and reads.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    control : In(stream of `control_layout`)
        Checked instructions. `valid` stays until the handshake, which ends it, or `clear`.
    position : In(PC_BITS + 1)
        Granule behind it.
    refused : Out(1), refusal : Out(CAUSE_BITS), refused_address : Out(MEMORY_ADDRESS_BITS)
        It traps. Until `clear`.
    jump : Out(stream of `jump_layout`)
        To the fetch. Its handshake is one of `control`.
    target : Out(PC_BITS + 1)
        Of the jump.
    arms, adds, reads : Out(1)
        A `control.relative` with a register, a `control.add`, a `control.read` ends in this cycle.
    operand : In(REGISTER_BITS)
        Register that a `control.loop` names, from its second cycle on.
    wait : Out(stream of `wait_layout`)
        To the semaphores; the handshake is the end of the wait. `ready` is low while `valid` is.
    read : Out(stream of `read_layout`), number : In(`number_layout`)
        A number of memory.
    window : In(WindowSignature)
        Memory that may be read.
    clear : In(1)
        Begin a program: no loop is open.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "control": In(stream.Signature(control_layout())),
                "position": In(PC_BITS + 1),
                "refused": Out(1),
                "refusal": Out(CAUSE_BITS),
                "refused_address": Out(MEMORY_ADDRESS_BITS),
                "jump": Out(stream.Signature(jump_layout())),
                "target": Out(PC_BITS + 1),
                "arms": Out(1),
                "adds": Out(1),
                "reads": Out(1),
                "operand": In(REGISTER_BITS),
                "wait": Out(stream.Signature(wait_layout(config))),
                "read": Out(stream.Signature(read_layout(config))),
                "number": In(number_layout()),
                "window": In(WindowSignature()),
                "clear": In(1),
            }
        )

    def elaborate(self, platform):
        """The instruction's kind and its second cycle, then each kind."""
        m = Module()
        code = self.control.payload.bits[:CODE_BITS]
        kinds = {name: Signal(name=f"is_{name}") for name in _NAMES}
        for name, kind in kinds.items():
            row = by_mnemonic(f"control.{name}")
            m.d.comb += kind.eq(self.control.valid & (code == row.code))
        second = Signal()
        m.d.sync += second.eq(self.control.valid & ~self.control.ready & ~self.clear)

        enables = (f"enable{slot}" for slot in range(RELATIVE_SLOTS))
        any_slot = Cat(self._field("relative", name) for name in enables).any()
        loop_ends = self._loops(m, kinds["loop"], kinds["end"], second)
        read_ends = self._reads(m, kinds["read"], second)
        m.d.comb += [
            self.arms.eq(kinds["relative"] & any_slot),
            self.adds.eq(kinds["add"] & second),
            self.reads.eq(read_ends),
            self.control.ready.eq(kinds["relative"] | self.adds | read_ends | loop_ends),
        ]
        return m

    def _field(self, name: str, field: str):
        return control_field(self.control.payload, f"control.{name}", field)

    def _refuse(self, m: Module, cause, address) -> None:
        m.d.comb += [
            self.refused.eq(1),
            self.refusal.eq(cause),
            self.refused_address.eq(address),
        ]

    def _loops(self, m: Module, is_loop, is_end, second):
        """Begin or end of a body; a bit: it is complete."""
        depth = Signal(range(LOOP_DEPTH + 1))
        layout = data.StructLayout({"start": PC_BITS + 1, "left": LOOP_COUNT_BITS})
        top, pushed, count = Signal(layout), Signal(layout), Signal(LOOP_COUNT_BITS)
        from_register = self._field("loop", "from_register")
        is_last, again, is_no_count = Signal(), Signal(), Signal()
        nests, ends, jumps, full = Signal(), Signal(), Signal(), Signal()
        place = range(LOOP_DEPTH)
        innermost, written = Signal(place), Signal(place)
        m.d.comb += [
            innermost.eq(depth - 1),
            full.eq(depth == LOOP_DEPTH),
            is_no_count.eq(
                from_register & (self.operand[LOOP_COUNT_BITS:].any() | (self.operand == 0))
            ),
            count.eq(
                Mux(from_register, self.operand[:LOOP_COUNT_BITS], self._field("loop", "count"))
            ),
            nests.eq(is_loop & second & ~full & ~is_no_count),
            jumps.eq(self.jump.valid & self.jump.ready),
            ends.eq(is_end & second & (depth != 0) & (is_last | jumps)),
            written.eq(Mux(is_loop, depth, innermost)),
            pushed.start.eq(Mux(is_loop, self.position, top.start)),
            pushed.left.eq(Mux(is_loop, count, top.left - 1)),
        ]
        m.d.comb += top.eq(
            add_lut_memory(
                m,
                "loops",
                len(pushed.as_value()),
                LOOP_DEPTH,
                write=(nests | (ends & ~is_last), written, pushed),
                read=innermost,
            )
        )
        m.d.sync += [
            is_last.eq(top.left == 1),
            again.eq(self.position - top.start > self._config.body_granules),
        ]
        m.d.comb += [
            self.target.eq(top.start),
            self.jump.payload.target.eq(top.start),
            self.jump.payload.again.eq(again),
            self.jump.valid.eq(is_end & second & (depth != 0) & ~is_last),
        ]
        with m.If(is_loop & full | is_end & (depth == 0)):
            self._refuse(m, Trap.LOOP_NESTING, depth)
        with m.Elif(is_loop & second & is_no_count):
            self._refuse(m, Trap.RELATIVE_RANGE, 0)
        with m.If(self.clear):
            m.d.sync += depth.eq(0)
        with m.Elif(nests):
            m.d.sync += depth.eq(depth + 1)
        with m.Elif(ends & is_last):
            m.d.sync += depth.eq(depth - 1)
        return nests | ends

    def _reads(self, m: Module, is_read, second):
        """Wait, comparison with the window, and read; a bit: it is complete."""
        config = self._config
        address, bytes8 = self._field("read", "mem_addr"), self._field("read", "bytes8")
        waits = self._field("read", "wait")
        requests, over, compared, is_outside = Signal(), Signal(), Signal(), Signal()
        last = Signal(MEMORY_ADDRESS_BITS + 1)
        failed, failure = Signal(), Signal()
        complete, requested = Signal(), Signal()
        goes = Signal()
        m.d.comb += goes.eq(is_read & second & (~waits | over))
        m.d.sync += [
            requests.eq(is_read & waits & ~over & ~self.wait.ready & ~self.clear),
            over.eq((over | self.wait.ready) & is_read & ~complete),
            last.eq(address + Mux(bytes8, 7, 3)),
            is_outside.eq((address < self.window.base) | (last > self.window.last)),
            compared.eq(goes),
            requested.eq((requested | (self.read.valid & self.read.ready)) & is_read & ~complete),
        ]
        m.d.comb += [
            self.wait.valid.eq(requests),
            self.wait.payload.sem.eq(self._field("read", "wait_sem")),
            self.wait.payload.value.eq(self._field("read", "wait_value")),
            self.wait.payload.consume.eq(self._field("read", "consume")),
            self.read.valid.eq(compared & goes & ~is_outside & ~requested),
            self.read.payload.address.eq(address[: config.axi_addr_width]),
            self.read.payload.bytes8.eq(bytes8),
            complete.eq(requested & self.number.valid & ~self.number.resp[1]),
        ]
        with m.If(self.clear):
            m.d.sync += failed.eq(0)
        with m.Elif(requested & self.number.valid & self.number.resp[1]):
            m.d.sync += [failed.eq(1), failure.eq(self.number.resp[0])]
        with m.If(compared & goes & is_outside):
            self._refuse(m, Trap.MEMORY_WINDOW, address)
        with m.Elif(failed):
            self._refuse(m, Mux(failure, Trap.BUS_DECERR, Trap.BUS_SLVERR), address)
        return complete
