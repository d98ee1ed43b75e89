"""Column by column: checks, addresses, requests, and what the lanes do with each answer."""

from enum import IntEnum

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.formats import FP32
from tegula.isa.instructions import Engine, by_mnemonic
from tegula.isa.traps import Trap
from tegula.signatures import instruction_layout, payload_layout, trap_layout
from tegula.vector.completion import completion_layout

__all__ = ["ColumnSequencer", "column_layout"]


class _Phase(IntEnum):
    """Which row of a column is asked for, or arrives. Without rows the phase stays RANDOM."""

    LOW = 0
    HIGH = 1
    RANDOM = 2


_COPY = by_mnemonic("vector.copy").opcode & 0xF
_ADDRESS_BITS = 17
"""A 16-bit field and a carry: one past the last word of a full scratchpad is still outside."""


def column_layout(config: TileConfig) -> data.StructLayout:
    """What travels beside a column through the lanes."""
    return data.StructLayout(
        {
            "addr": range(config.sbuf_depth),
            "rows": 6,
            "format": 3,
            "stochastic": 1,
            "saturate": 1,
            "last": 1,
        }
    )


class ColumnSequencer(wiring.Component):
    """Walk the columns of vector.copy; launch those that pass their checks.

    Columns of PSUM are launched with their read, one a cycle (fp32 results: one every two; random
    bits: one for each random row that the scratchpad grants). Columns of the scratchpad are
    launched with the arrival of their last row: low half, high half, random bits if any; rows are
    requested back to back and arrive in order, so that a phase counter tells what each one is. A
    column is checked when its first request is accepted: that request is made even if the check
    then fails, and its answer is not used.

    An instruction is accepted when the one before has asked for all its columns and received all
    its rows. One that reads the scratchpad also waits until `drained`: it sees all earlier results.
    So copies from PSUM without random bits follow each other with one cycle lost, others with the
    latency of a column.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    instr : In(stream of instruction_layout)
        Instructions.
    start : Out(1), entry : Out(completion_layout), room : In(1)
        An instruction starts; how it will be signalled; whether that can be remembered.
    psum_addr : Out, psum_en : Out(1), psum_written : In(1)
        PSUM read; the answer, in the same cycle, whether the word was written.
    row_read : Out(stream of an address), row_valid : In(1)
        Scratchpad rows; one strobe a row, in order.
    capture_low, capture_high, capture_random : Out(1)
        What the row of this cycle is.
    launch : Out(1), direct : Out(1), column : Out(column_layout)
        A column enters: a PSUM word that was read in this cycle or, if `direct`, the captured fp32.
    drained : In(1), alone : In(1)
        No launched column is under way; no other instruction's signal is pending.
    stop : In(1)
        Drop everything; held until `idle`, so that rows asked for before it arrive under it.
    trap : Out(trap_layout), trap_valid : Out(1)
        Pulsed when all columns before the violation, and all earlier instructions, are complete.
    active : Out(1), denied : Out(1), idle : Out(1)
        Columns are left to ask for; a row was asked for and not granted; nothing is pending here.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "instr": In(stream.Signature(instruction_layout(Engine.VECTOR))),
                "start": Out(1),
                "entry": Out(completion_layout(config)),
                "room": In(1),
                "psum_addr": Out(range(config.psum_depth)),
                "psum_en": Out(1),
                "psum_written": In(1),
                "row_read": Out(stream.Signature((config.sbuf_depth - 1).bit_length())),
                "row_valid": In(1),
                "capture_low": Out(1),
                "capture_high": Out(1),
                "capture_random": Out(1),
                "launch": Out(1),
                "direct": Out(1),
                "column": Out(column_layout(config)),
                "drained": In(1),
                "alone": In(1),
                "stop": In(1),
                "trap": Out(trap_layout(config)),
                "trap_valid": Out(1),
                "active": Out(1),
                "denied": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        """Accept, request, check, launch, trap."""
        m = Module()
        header, copy = Signal(self.instr.p.shape()), Signal(payload_layout("vector.copy"))
        trapped, reported = Signal(), Signal()
        rows_pending = Signal(range(16))
        settled = Signal()
        m.d.comb += settled.eq(rows_pending == 0)
        with m.If(self.row_read.valid & self.row_read.ready & ~self.row_valid):
            m.d.sync += rows_pending.eq(rows_pending + 1)
        with m.Elif(~(self.row_read.valid & self.row_read.ready) & self.row_valid):
            m.d.sync += rows_pending.eq(rows_pending - 1)

        begin = self._accept(m, header, copy, settled & ~trapped & ~self.stop)
        violation, passed = self._request(m, copy, header.pc, begin)
        self._launch(m, copy, begin, passed)

        m.d.comb += [
            self.trap_valid.eq(
                trapped & ~reported & settled & self.drained & self.alone & ~self.stop
            ),
            self.idle.eq(~self.active & ~trapped & settled),
        ]
        with m.If(violation):
            m.d.sync += [trapped.eq(1), self.active.eq(0)]
        with m.If(self.trap_valid):
            m.d.sync += reported.eq(1)
        with m.If(self.stop):
            m.d.sync += [self.active.eq(0), trapped.eq(0), reported.eq(0)]
        return m

    def _accept(self, m: Module, header: Signal, copy: Signal, free: Value) -> Signal:
        """Take the next instruction once nothing of the last can meet it; 1 as a copy begins."""
        offered = data.View(copy.shape(), self.instr.p.payload)
        reads_rows = (self.instr.p.op == _COPY) & (offered.source | offered.stochastic)
        m.d.comb += [
            self.instr.ready.eq(free & ~self.active & self.room & (~reads_rows | self.drained)),
            self.start.eq(self.instr.valid & self.instr.ready),
            self.entry.sync.eq(self.instr.p.op != _COPY),
            self.entry.signal.eq(self.instr.p.signal),
            self.entry.update.sem.eq(self.instr.p.signal_sem),
            self.entry.update.value.eq(self.instr.p.signal_value),
        ]
        begin = Signal()
        m.d.comb += begin.eq(self.start & (self.instr.p.op == _COPY))
        with m.If(begin):
            m.d.sync += [header.eq(self.instr.p), copy.eq(offered), self.active.eq(1)]
        return begin

    def _request(self, m: Module, copy: Signal, pc: Value, begin: Value) -> tuple[Value, Value]:
        """Ask for each column's operands; whether a column violates, or passes, in this cycle."""
        source, target, draw = (Signal(_ADDRESS_BITS, name=n) for n in ("source", "target", "draw"))
        left = Signal(16)
        phase, gap = Signal(_Phase), Signal()
        asks_row = copy.source | copy.stochastic
        double = copy.format == FP32.code
        accepted, ends, first = Signal(), Signal(), Signal()
        m.d.comb += [
            self.row_read.valid.eq(self.active & asks_row & ~gap),
            self.row_read.payload.eq(Mux(phase == _Phase.RANDOM, draw, source)),
            self.denied.eq(self.row_read.valid & ~self.row_read.ready),
            accepted.eq(self.active & ~gap & (~asks_row | self.row_read.ready)),
            ends.eq(accepted & (~asks_row | (phase == _last_phase(copy)))),
            first.eq(accepted & (phase == _first_phase(copy))),
            self.psum_addr.eq(source),
            self.psum_en.eq(accepted & ~copy.source),
        ]
        m.d.sync += gap.eq(ends & double & ~copy.source)
        with m.If(accepted):
            m.d.sync += phase.eq(_next_phase(copy, phase))
            with m.If(~copy.source | (phase != _Phase.RANDOM)):
                m.d.sync += source.eq(source + 1)
        with m.If(ends):
            m.d.sync += [
                target.eq(target + Mux(double, 2, 1)),
                draw.eq(draw + 1),
                left.eq(left - 1),
                self.active.eq(left != 1),
            ]
        offered = data.View(copy.shape(), self.instr.p.payload)
        with m.If(begin):
            m.d.sync += [
                source.eq(offered.src),
                target.eq(offered.dst),
                draw.eq(offered.random),
                left.eq(offered.columns),
                phase.eq(_first_phase(offered)),
            ]
        cause = Signal(Trap)
        self._check(m, copy, (source, draw, target), double, cause)
        violation = first & (cause != Trap.NONE)
        with m.If(violation):
            m.d.sync += [self.trap.cause.eq(cause), self.trap.pc.eq(pc)]
        return violation, accepted & ~violation

    def _check(
        self, m: Module, copy: Signal, addresses: tuple[Signal, ...], double: Value, cause: Signal
    ) -> None:
        """Cause and address of the first violation of a column; the order is the contract's.

        The trap's address is registered each cycle, its cause only with a violation.
        """
        source, draw, target = addresses
        sbuf_depth, psum_depth = self._config.sbuf_depth, self._config.psum_depth

        def outside(address: Value, depth: int) -> Value:
            return address[(depth - 1).bit_length() :].any()

        checks = (
            (~copy.source & outside(source, psum_depth), Trap.PSUM_RANGE, source),
            (~copy.source & ~self.psum_written, Trap.PSUM_UNWRITTEN, source),
            (copy.source & outside(source, sbuf_depth), Trap.SBUF_RANGE, source),
            (copy.source & (source == sbuf_depth - 1), Trap.SBUF_RANGE, sbuf_depth),
            (copy.stochastic & outside(draw, sbuf_depth), Trap.SBUF_RANGE, draw),
            (outside(target, sbuf_depth), Trap.SBUF_RANGE, target),
            (double & (target == sbuf_depth - 1), Trap.SBUF_RANGE, sbuf_depth),
        )
        address = Signal(_ADDRESS_BITS)
        for index, (fails, trap, where) in enumerate(checks):
            with m.If(fails) if index == 0 else m.Elif(fails):
                m.d.comb += [cause.eq(trap), address.eq(where)]
        with m.If(self.active):
            m.d.sync += self.trap.address.eq(address)

    def _launch(self, m: Module, copy: Signal, begin: Value, passed: Value) -> None:
        """Launch PSUM columns as they pass, scratchpad columns as their last row arrives."""
        phase = Signal(_Phase)
        left = Signal(16)
        address = Signal(range(self._config.sbuf_depth))
        complete = self.row_valid & (phase == _last_phase(copy))
        m.d.comb += [
            self.capture_low.eq(self.row_valid & (phase == _Phase.LOW)),
            self.capture_high.eq(self.row_valid & (phase == _Phase.HIGH)),
            self.capture_random.eq(self.row_valid & (phase == _Phase.RANDOM)),
            self.direct.eq(copy.source),
            self.launch.eq(Mux(copy.source, complete, passed)),
            self.column.addr.eq(address),
            self.column.rows.eq(copy.rows),
            self.column.format.eq(copy.format),
            self.column.stochastic.eq(copy.stochastic),
            self.column.saturate.eq(copy.saturate),
            self.column.last.eq(left == 1),
        ]
        with m.If(self.row_valid):
            m.d.sync += phase.eq(_next_phase(copy, phase))
        with m.If(self.launch):
            m.d.sync += [
                address.eq(address + Mux(copy.format == FP32.code, 2, 1)),
                left.eq(left - 1),
            ]
        offered = data.View(copy.shape(), self.instr.p.payload)
        with m.If(begin):
            m.d.sync += [
                phase.eq(_first_phase(offered)),
                address.eq(offered.dst),
                left.eq(offered.columns),
            ]


def _first_phase(copy: data.View) -> Value:
    return Mux(copy.source, _Phase.LOW, _Phase.RANDOM)


def _last_phase(copy: data.View) -> Value:
    return Mux(copy.stochastic, _Phase.RANDOM, _Phase.HIGH)


def _next_phase(copy: data.View, phase: Signal) -> Value:
    """Low, high, random and again, as far as this instruction has them."""
    after_high = Mux(copy.stochastic, _Phase.RANDOM, _Phase.LOW)
    return Mux(
        phase == _Phase.LOW,
        _Phase.HIGH,
        Mux(phase == _Phase.HIGH, after_high, _first_phase(copy)),
    )
