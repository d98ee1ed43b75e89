"""The tensor engine: instructions in, PSUM words out."""

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from tegula.config import TileConfig
from tegula.engine.acceptance import InstructionRegister
from tegula.engine.interface import (
    SIGNAL_TO_INSTRUCTION_CYCLES,
    EngineSignature,
    assign_update,
    payload_layout,
    ticket_layout,
)
from tegula.engine.retirement import Retirement
from tegula.engine.trace import Activity
from tegula.isa.instructions import Engine, codes
from tegula.isa.tensor import SCALE_ROW_BITS
from tegula.isa.traps import Trap
from tegula.lib.delay import delay, delayed
from tegula.lib.mux import prioritised
from tegula.memory.ports import TENSOR_READ_CYCLES, PsumReadSignature, TensorReadSignature
from tegula.tensor.feed import FEED_CYCLES, OperandFeed
from tegula.tensor.moving import MovingStreamer
from tegula.tensor.pairing import OperandPair
from tegula.tensor.psum import Psum, step_cycles, write_cycles
from tegula.tensor.stationary import StationaryLoader
from tegula.tensor.systolic_array import SystolicArray

__all__ = ["TensorEngine", "load_period", "signal_cycles", "write_end_cycles"]

_PENDING_SIGNALS = 8
"""Matmuls in the array with a signal to send, the one in the streamer included."""

_Code = codes(Engine.TENSOR)


def write_end_cycles(config: TileConfig) -> int:
    """Cycles from the issue of a column to the one in which its last word is written."""
    return FEED_CYCLES + step_cycles() + write_cycles(config) + config.n - 1


def signal_cycles(config: TileConfig) -> int:
    """Cycles from the issue of a matmul's last column to its signal, which runs ahead.

    Nothing that a signal wakes finds the last word not written (`SIGNAL_TO_INSTRUCTION_CYCLES`).
    """
    return write_end_cycles(config) - (SIGNAL_TO_INSTRUCTION_CYCLES - 1)


def load_period(config: TileConfig) -> int:
    """Cycles from one pair of a load and a matmul to the next, if the matmul has fewer columns.

    N for the columns of the operand, and three until the first of them is issued: the matmul has
    begun, the load is in the `InstructionRegister`, it has been accepted.
    """
    return config.n + 3


class TensorEngine(wiring.Component):
    """``psum[m, f] (+)= sum_k stationary[k, m] * moving[k, f]``, one moving column f a cycle.

    Loads run beside the matmul before them; matmuls run back to back. A column of the operand waits
    while it lies in the bank of the moving column that is read in its cycle. Signals of loads go
    out on port 1 when the operand has been requested, all others on port 0, `signal_cycles` after
    the last column. `busy` and `stall` are those of the cycle before; `stop` acts in the next.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    engine : Out(EngineSignature(config, Engine.TENSOR, 2))
        Instructions, signals (two ports), trap, stop.
    moving, stationary : Out(TensorReadSignature)
        The operands, from the scratchpad.
    psum_read : In(PsumReadSignature)
        Partial sums, for the vector engine.
    clear : In(1)
        A program begins, which has written no address of PSUM; one cycle.
    """

    def __init__(self, config: TileConfig):
        self.config = config
        super().__init__(
            {
                "engine": Out(EngineSignature(config, Engine.TENSOR, 2)),
                "moving": Out(TensorReadSignature(config)),
                "stationary": Out(TensorReadSignature(config)),
                "psum_read": In(PsumReadSignature(config)),
                "clear": In(1),
            }
        )

    def elaborate(self, platform):
        """Acceptance, loader, streamer, array, signals."""
        m = Module()
        m.submodules.loader = self._loader = StationaryLoader(self.config)
        m.submodules.streamer = self._streamer = MovingStreamer(self.config)
        m.submodules.array = self._array = SystolicArray(self.config)
        m.submodules.psum = self._psum = Psum(self.config)
        m.submodules.instruction = instruction = InstructionRegister(Engine.TENSOR)
        connect(m, flipped(self.engine.instr), instruction.i)
        connect(m, flipped(self.psum_read), self._psum.read)
        if self.config.packed_fp8:
            m.submodules.pair = self._pair = OperandPair(self.config)
        self._instr, self._stop = instruction.o, Signal()
        self._resting, self._syncs = Signal(), Signal()
        m.d.sync += self._stop.eq(self.engine.stop)
        m.d.comb += [
            # Without delay, so that the first instruction after a stop is not dropped.
            instruction.flush.eq(self.engine.stop),
            self._psum.clear.eq(self.clear),
        ]
        # Only instructions with a signal are tickets: the others need none to retire.
        ticket = ticket_layout(self.config)
        matmuls = Retirement(
            self.config, ticket, depth=_PENDING_SIGNALS, cycles=signal_cycles(self.config) - 1
        )
        loads = Retirement(self.config, ticket, depth=2, cycles=1)
        dropped = ResetInserter(self._stop)
        m.submodules.matmuls = dropped(matmuls)
        m.submodules.loads = dropped(loads)
        self._connect_signals(m, matmuls, loads)
        self._accept(m, matmuls, loads)
        self._feed_stationary(m)
        self._feed_moving(m)
        if self.config.mx:
            self._write_scales(m)
        self._report(m, matmuls, loads)
        if self.config.trace:
            self._trace(m)
        return m

    def _accept(self, m, matmuls, loads):
        """Acceptance of the next instruction by its half of the engine."""
        instr, stop = self._instr, self._stop
        loader, streamer = self._loader, self._streamer
        fresh, halted = Signal(), Signal()
        # Cycles until the last word of the columns issued so far is written.
        until_written = Signal(range(write_end_cycles(self.config) + 1))
        self._in_array = Signal()
        with m.If(streamer.issued):
            m.d.sync += [until_written.eq(write_end_cycles(self.config)), self._in_array.eq(1)]
        with m.Elif(self._in_array):
            m.d.sync += [until_written.eq(until_written - 1), self._in_array.eq(until_written != 1)]
        m.d.comb += [
            loader.load.eq(data.View(payload_layout("tensor.load"), instr.p.payload)),
            streamer.matmul.eq(data.View(payload_layout("tensor.matmul"), instr.p.payload)),
            loader.pc.eq(instr.p.pc),
            streamer.pc.eq(instr.p.pc),
            streamer.fresh.eq(fresh),
        ]
        # The matmul in the streamer may still push a ticket.
        has_room = matmuls.level < _PENDING_SIGNALS - 1
        offered, multiplies = Signal(), Signal()
        loads_operand, loads_scales = Signal(), Signal()
        scales_pending = Signal()
        m.d.comb += [
            loads_operand.eq(instr.p.op == _Code.LOAD),
            offered.eq(instr.valid & ~halted & ~stop),
            loader.start.eq(
                offered
                & (loads_operand | loads_scales)
                & loader.idle
                & (loads.level == 0)
                # A matmul that is held back before its first column still needs the operand.
                & ~(streamer.swap & streamer.active)
            ),
            streamer.start.eq(
                offered
                & (instr.p.op == _Code.MATMUL)
                & (loader.idle | ~(fresh | scales_pending))
                & has_room
            ),
            multiplies.eq(streamer.start & streamer.ready),
            self._syncs.eq(offered & (instr.p.op == _Code.SYNC) & self._resting),
            instr.ready.eq(loader.start | multiplies | self._syncs),
            loader.stop.eq(stop),
            streamer.stop.eq(stop | halted),
        ]
        if self.config.packed_fp8:
            pair = self._pair
            m.d.comb += [
                pair.load.eq(loader.load),
                pair.loads.eq(loader.start & loads_operand),
                pair.matmul.eq(streamer.matmul),
                pair.multiplies.eq(multiplies),
                pair.fresh.eq(fresh),
                streamer.pair_anchor.eq(pair.anchor),
                streamer.refused.eq(pair.refused),
            ]
        if self.config.mx:
            m.d.comb += [
                loads_scales.eq(instr.p.op == _Code.SCALES),
                loader.begins_scales.eq(loads_scales),
                loader.scales.eq(data.View(payload_layout("tensor.scales"), instr.p.payload)),
                scales_pending.eq(loader.reads_scales),
            ]
        with m.If(loader.start & loads_operand):
            m.d.sync += fresh.eq(1)
        with m.If(multiplies):
            m.d.sync += fresh.eq(0)
        # A load runs beside earlier matmuls, whose signals, and traps, come first.
        at_fault = streamer.fault | (loader.out_of_range & streamer.idle)
        sent = ~self._in_array & (matmuls.level == 0) & (loads.level == 0)
        trapped = at_fault & sent
        with m.If(trapped):
            m.d.sync += halted.eq(1)
        with m.If(stop):
            m.d.sync += [halted.eq(0), fresh.eq(0)]
        with m.If(~halted & trapped & ~stop):
            m.d.comb += self.engine.trap_valid.eq(1)
        with m.If(streamer.idle):
            m.d.comb += [
                self.engine.trap.cause.eq(Trap.SBUF_RANGE),
                self.engine.trap.pc.eq(loader.trap_pc),
                self.engine.trap.address.eq(loader.addr),
            ]
        with m.Else():
            m.d.comb += [
                self.engine.trap.cause.eq(streamer.cause),
                self.engine.trap.pc.eq(streamer.trap_pc),
                self.engine.trap.address.eq(
                    Mux(
                        (streamer.cause == Trap.SBUF_RANGE)
                        | (streamer.cause == Trap.PACKED_FORMATS),
                        streamer.addr,
                        streamer.psum_addr,
                    )
                ),
            ]

    def _feed_stationary(self, m):
        """Request, decode and shift; columns of zeros stay in order with the columns read."""
        loader, streamer, array = self._loader, self._streamer, self._array
        bank_bits = (self.config.bus_words - 1).bit_length()
        same_bank, rewrites = Signal(), Signal()
        m.d.comb += [
            same_bank.eq(loader.addr[:bank_bits] == streamer.addr[:bank_bits]),
            loader.hold.eq(streamer.active & (same_bank | rewrites)),
            self.stationary.addr.eq(loader.addr),
            self.stationary.en.eq(loader.reads),
        ]
        m.submodules.stationary_feed = feed = OperandFeed(self.config)
        m.d.comb += [
            feed.codes.eq(self.stationary.data),
            # Rows in work can change only after the last column is requested.
            feed.rows.eq(Mux(loader.issued_zero, 0, loader.rows)),
            feed.format.eq(loader.format),
            feed.packed.eq(loader.packed),
            array.stationary.eq(feed.operands),
            array.shift.eq(delay(m, loader.issued | loader.issued_zero, FEED_CYCLES, "shift")),
            array.first.eq(delayed(m, loader.first, FEED_CYCLES, name="first_column")),
        ]
        if self.config.packed_fp8:
            m.d.comb += array.stationary_second.eq(feed.seconds)
        if self.config.mx:
            behind = Signal(SCALE_ROW_BITS)
            m.d.comb += [
                # A row of scales waits for the matmul that may still read it.
                behind.eq(loader.scale_row - streamer.scale_row),
                rewrites.eq(
                    loader.reads_scales & streamer.scaled & (behind <= streamer.scale_rows)
                ),
                feed.column.eq(loader.issued | loader.issued_zero),
                feed.first.eq(loader.first),
                feed.absent.eq(loader.issued_zero),
                feed.scaled.eq(loader.scaled),
                feed.scale_row.eq(loader.scale_row),
                array.stationary_scale.eq(feed.scale),
            ]

    def _write_scales(self, m):
        """Rows of scales, as the scratchpad delivers them, into the buffers of both feeds."""
        loader = self._loader
        enable = delay(m, loader.issued_scales, TENSOR_READ_CYCLES, "scales")
        row = delayed(m, loader.scale_row, TENSOR_READ_CYCLES, name="scale_row")
        for feed in (m.submodules.stationary_feed, m.submodules.moving_feed):
            write = feed.scale_write
            m.d.comb += [
                write.en.eq(enable),
                write.row.eq(row),
                *(write.codes[p].eq(self.stationary.data[p][:8]) for p in range(self.config.n)),
            ]

    def _feed_moving(self, m):
        """Read, decode and entry into the array, and the step of PSUM in time with it."""
        streamer, array, psum = self._streamer, self._array, self._psum
        connect(m, streamer.mark, psum.mark)
        m.submodules.moving_feed = feed = OperandFeed(self.config)
        step_at = FEED_CYCLES + step_cycles()
        step = delayed(m, Cat(streamer.accumulate, psum.mark.addr), step_at, name="step")
        m.d.comb += [
            self.moving.addr.eq(streamer.addr),
            self.moving.en.eq(streamer.active),
            feed.codes.eq(self.moving.data),
            feed.rows.eq(Mux(streamer.issued, streamer.rows, 0)),
            feed.format.eq(streamer.format),
            array.moving.eq(feed.operands),
            array.swap.eq(delay(m, streamer.issued & streamer.swap, FEED_CYCLES, "swap")),
            psum.array.step_valid.eq(delay(m, streamer.issued, step_at, "step_valid")),
            psum.array.step_accumulate.eq(step[0]),
            psum.array.step_addr.eq(step[1:]),
            array.words_in.eq(psum.array.words_in),
            array.accumulate.eq(psum.array.accumulate),
            psum.array.words_out.eq(array.words_out),
        ]
        if self.config.packed_fp8:
            m.d.comb += [
                feed.packed.eq(streamer.packed),
                array.moving_second.eq(feed.seconds),
                array.anchor.eq(delayed(m, streamer.anchor, FEED_CYCLES, name="anchor")),
            ]
        if self.config.mx:
            m.d.comb += [
                feed.column.eq(streamer.issued),
                feed.first.eq(streamer.first),
                feed.scaled.eq(streamer.issued & streamer.scaled),
                feed.scale_row.eq(streamer.scale_row),
                array.moving_scale.eq(feed.scale),
            ]

    def _connect_signals(self, m, matmuls, loads):
        """Matmuls and syncs signal on port 0, loads on port 1."""
        instr = self._instr.p
        matmul, load = matmuls.tickets, loads.tickets

        def held(free, name):
            """The signal of the instruction in work, and a flag that it has one."""
            pending = Signal(name=f"{name}_pending")
            update = Signal.like(matmul.payload.update, name=f"{name}_signal")
            with m.If(free):
                m.d.sync += [pending.eq(instr.signal), *assign_update(update, instr)]
            return update, pending

        streamer_signal, streamer_pending = held(self._streamer.ready, "streamer")
        loader_signal, loader_pending = held(self._loader.idle, "loader")
        # A sync is accepted only while the streamer is idle.
        with m.If(self._streamer.idle):
            m.d.comb += assign_update(matmul.payload.update, instr)
        with m.Else():
            m.d.comb += matmul.payload.update.eq(streamer_signal)
        m.d.comb += [
            matmul.valid.eq(
                (self._syncs & instr.signal)
                | (self._streamer.issued & self._streamer.last & streamer_pending)
            ),
            load.payload.update.eq(loader_signal),
            load.valid.eq(self._loader.complete & loader_pending),
        ]
        connect(m, flipped(self.engine.signals[0]), matmuls.signals)
        connect(m, flipped(self.engine.signals[1]), loads.signals)

    def _report(self, m, matmuls, loads):
        """Activity for the counters, and idleness for `halt`."""
        loader, streamer = self._loader, self._streamer
        working = Signal()
        m.d.comb += [
            working.eq(streamer.issued | loader.issued | loader.issued_zero),
            self._resting.eq(
                loader.idle
                & streamer.idle
                & ~self._in_array
                & (matmuls.level == 0)
                & (loads.level == 0)
            ),
            self.engine.idle.eq(self._resting & ~self._instr.valid),
        ]
        m.d.sync += [
            self.engine.busy.eq(working),
            self.engine.stall.eq(~working & ~self.engine.idle),
        ]

    def _trace(self, m):
        """The engine's part of the trace."""
        loader, streamer = self._loader, self._streamer
        instr, trace = self._instr, self.engine.trace
        # A sync begins when the last matmul is complete, and is itself so a cycle later.
        begins, synced = Signal(), Signal()
        last = streamer.issued & streamer.last
        ended = delay(m, last, signal_cycles(self.config) - 1, "ended")
        m.d.comb += [
            begins.eq(instr.valid & instr.ready),
            trace.begin.eq(begins),
            trace.complete.eq(Cat(ended | synced, loader.complete)),
        ]
        m.d.sync += synced.eq(begins & (instr.p.op == _Code.SYNC))
        reasons = (
            (streamer.issued, Activity.WORK),
            (loader.issued | loader.issued_zero, Activity.LOADING),
            (~streamer.idle & ~streamer.mark.ready, Activity.CLEARING),
            (~streamer.idle & ~streamer.fault, Activity.PSUM),
            (~loader.idle & ~loader.out_of_range, Activity.OPERAND),
            (~self._resting, Activity.DRAINING),
            (instr.valid, Activity.STARTING),
        )
        m.d.sync += trace.activity.eq(prioritised(reasons, Activity.WORK))
