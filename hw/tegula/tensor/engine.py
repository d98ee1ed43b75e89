"""The tensor engine: instructions in, PSUM words out."""

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from tegula.config import TileConfig
from tegula.engine.interface import EngineSignature, assign_update, payload_layout, ticket_layout
from tegula.engine.retirement import Retirement
from tegula.engine.trace import Activity
from tegula.isa.instructions import Engine, codes
from tegula.isa.traps import Trap
from tegula.lib.delay import delay
from tegula.lib.mux import prioritised
from tegula.memory.ports import MovingReadSignature, RowReadSignature
from tegula.memory.scratchpad import READ_CYCLES
from tegula.tensor.moving import MovingStreamer
from tegula.tensor.operand import OperandDecode, operand_layout
from tegula.tensor.psum import PsumArraySignature, step_cycles, write_cycles
from tegula.tensor.stationary import StationaryLoader
from tegula.tensor.systolic_array import SystolicArray
from tegula.tensor.written_map import MarkSignature

__all__ = ["MOVING_CYCLES", "TensorEngine", "complete_cycles"]

MOVING_CYCLES = READ_CYCLES + 1
"""Cycles from a column's issue to the array: scratchpad, and the register behind the decoders."""

_PENDING_SIGNALS = 8
"""Matmuls in the array with a signal to send, the one in the streamer included."""

_Code = codes(Engine.TENSOR)


def complete_cycles(config: TileConfig) -> int:
    """Cycles from a matmul's last column to its signal: every partition has its word."""
    return MOVING_CYCLES + step_cycles() + write_cycles(config) + config.n


class TensorEngine(wiring.Component):
    """``psum[m, f] (+)= sum_k stationary[k, m] * moving[k, f]``, one moving column f a cycle.

    Loads run beside the matmul before them; matmuls run back to back. Signals of loads go out on
    port 1 when the operand has been read, all others on port 0 when the results are in PSUM.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    engine : Out(EngineSignature(config, Engine.TENSOR, 2))
        Instructions, signals (two ports), trap, stop.
    moving : Out(MovingReadSignature)
        The moving operand, from the scratchpad.
    stationary : Out(RowReadSignature)
        The stationary operand, likewise.
    psum : Out(PsumArraySignature)
        Partial sums.
    mark : Out(MarkSignature)
        Addresses of PSUM that are written.
    """

    def __init__(self, config: TileConfig):
        self.config = config
        super().__init__(
            {
                "engine": Out(EngineSignature(config, Engine.TENSOR, 2)),
                "moving": Out(MovingReadSignature(config)),
                "stationary": Out(RowReadSignature(config)),
                "psum": Out(PsumArraySignature(config)),
                "mark": Out(MarkSignature(config)),
            }
        )

    def elaborate(self, platform):
        """Acceptance, loader, streamer, array, signals."""
        m = Module()
        m.submodules.loader = self._loader = StationaryLoader(self.config)
        m.submodules.streamer = self._streamer = MovingStreamer(self.config)
        m.submodules.array = self._array = SystolicArray(self.config)
        # Only instructions with a signal are tickets: the others need none to retire.
        ticket = ticket_layout(self.config)
        matmuls = Retirement(
            self.config, ticket, depth=_PENDING_SIGNALS, cycles=complete_cycles(self.config)
        )
        loads = Retirement(self.config, ticket, depth=2, cycles=1)
        dropped = ResetInserter(self.engine.stop)
        m.submodules.matmuls = dropped(matmuls)
        m.submodules.loads = dropped(loads)
        self._connect_signals(m, matmuls, loads)
        self._accept(m, matmuls, loads)
        self._feed_stationary(m)
        self._feed_moving(m)
        self._report(m, matmuls, loads)
        if self.config.trace:
            self._trace(m)
        return m

    def _accept(self, m, matmuls, loads):
        """Acceptance of the next instruction by its half of the engine."""
        instr = self.engine.instr
        loader, streamer = self._loader, self._streamer
        fresh, halted = Signal(), Signal()
        self._in_array = Signal()
        m.d.comb += [
            loader.load.eq(data.View(payload_layout("tensor.load"), instr.p.payload)),
            streamer.matmul.eq(data.View(payload_layout("tensor.matmul"), instr.p.payload)),
            loader.pc.eq(instr.p.pc),
            streamer.pc.eq(instr.p.pc),
            streamer.fresh.eq(fresh),
        ]
        # The matmul in the streamer may still push a ticket.
        has_room = matmuls.level < _PENDING_SIGNALS - 1
        can_accept = Signal()
        with m.Switch(instr.p.op):
            with m.Case(_Code.LOAD):
                # A matmul that is held back before its first column still needs the operand.
                needed = streamer.swap & ~streamer.idle & ~streamer.issued
                m.d.comb += can_accept.eq(loader.idle & (loads.level == 0) & ~needed)
            with m.Case(_Code.MATMUL):
                m.d.comb += can_accept.eq(streamer.ready & (loader.idle | ~fresh) & has_room)
            with m.Case(_Code.SYNC):
                m.d.comb += can_accept.eq(self.engine.idle)
        m.d.comb += [
            instr.ready.eq(can_accept & ~halted & ~self.engine.stop),
            loader.start.eq(instr.valid & instr.ready & (instr.p.op == _Code.LOAD)),
            streamer.start.eq(instr.valid & instr.ready & (instr.p.op == _Code.MATMUL)),
            loader.stop.eq(self.engine.stop),
            streamer.stop.eq(self.engine.stop | halted),
        ]
        with m.If(loader.start):
            m.d.sync += fresh.eq(1)
        with m.If(streamer.start):
            m.d.sync += fresh.eq(0)
        # A load runs beside earlier matmuls, whose signals, and traps, come first.
        at_fault = (streamer.cause != Trap.NONE) | (loader.out_of_range & streamer.idle)
        sent = ~self._in_array & (matmuls.level == 0) & (loads.level == 0)
        trapped = at_fault & sent
        with m.If(trapped):
            m.d.sync += halted.eq(1)
        with m.If(self.engine.stop):
            m.d.sync += [halted.eq(0), fresh.eq(0)]
        with m.If(~halted & trapped & ~self.engine.stop):
            m.d.comb += self.engine.trap_valid.eq(1)
        with m.If(streamer.cause != Trap.NONE):
            m.d.comb += [
                self.engine.trap.cause.eq(streamer.cause),
                self.engine.trap.pc.eq(streamer.trap_pc),
                self.engine.trap.address.eq(
                    Mux(streamer.cause == Trap.SBUF_RANGE, streamer.addr, streamer.psum_addr)
                ),
            ]
        with m.Else():
            m.d.comb += [
                self.engine.trap.cause.eq(Trap.SBUF_RANGE),
                self.engine.trap.pc.eq(loader.trap_pc),
                self.engine.trap.address.eq(loader.addr),
            ]

    def _decode_row(self, m, name, row, rows, fmt):
        """Registered row of operands: lanes below `rows` decoded, the others zero."""
        operands = Signal(data.ArrayLayout(operand_layout, self.config.n), name=f"{name}_operands")
        for lane in range(self.config.n):
            m.submodules[f"{name}_decode_{lane}"] = decode = OperandDecode(self.config)
            m.d.comb += [
                decode.code.eq(row[lane]),
                decode.format.eq(fmt),
                decode.enable.eq(lane < rows),
            ]
            m.d.sync += operands[lane].eq(decode.operand)
        return operands

    def _feed_stationary(self, m):
        """Request, decode and shift; columns of zeros stay in order with the columns read."""
        loader = self._loader
        wiring.connect(m, loader.read, wiring.flipped(self.stationary.request))
        zero = delay(m, loader.issued_zero, READ_CYCLES, "zero_column")
        shift = Signal()
        # Rows in work can change only after the last column is requested: delay them with the
        # columns.
        rows = delay(m, loader.rows, READ_CYCLES, "stationary_rows")
        fmt = delay(m, loader.format, READ_CYCLES, "stationary_format")
        enabled_rows = Signal(6)
        m.d.comb += enabled_rows.eq(Mux(zero, 0, rows))
        operands = self._decode_row(m, "stationary", self.stationary.data, enabled_rows, fmt)
        m.d.sync += shift.eq(self.stationary.valid | zero)
        m.d.comb += [self._array.stationary.eq(operands), self._array.shift.eq(shift)]

    def _feed_moving(self, m):
        """Read, decode and entry into the array, and the step of PSUM in time with it."""
        streamer = self._streamer
        wiring.connect(m, streamer.mark, wiring.flipped(self.mark))
        m.d.comb += [
            self.moving.addr.eq(streamer.addr),
            self.moving.en.eq(streamer.issued),
            self._loader.swap.eq(streamer.issued & streamer.swap),
        ]
        issued_rows = Mux(streamer.issued, streamer.rows, 0)
        attributes = delay(m, Cat(issued_rows, streamer.format), READ_CYCLES, "moving_attributes")
        operands = self._decode_row(m, "moving", self.moving.data, attributes[:6], attributes[6:])
        swap = delay(m, streamer.issued & streamer.swap, MOVING_CYCLES, "swap")
        step = Cat(streamer.issued, streamer.accumulate, self.mark.addr)
        stepping = []
        for cycle in range(MOVING_CYCLES + step_cycles()):
            step = delay(m, step, 1, f"step_{cycle}")
            stepping.append(step[0])
        m.d.comb += [
            self._array.moving.eq(operands),
            self._array.swap.eq(swap),
            self.psum.step_valid.eq(step[0]),
            self.psum.step_accumulate.eq(step[1]),
            self.psum.step_addr.eq(step[2:]),
            self._array.words_in.eq(self.psum.words_in),
            self._array.accumulate.eq(self.psum.accumulate),
            self.psum.words_out.eq(self._array.words_out),
            self._in_array.eq(Cat(stepping).any() | self.psum.pending),
        ]

    def _connect_signals(self, m, matmuls, loads):
        """Matmuls and syncs signal on port 0, loads on port 1."""
        instr, accepted = self.engine.instr.p, Signal()
        matmul, load = matmuls.tickets, loads.tickets

        def held(start, name):
            """The signal of the last instruction that started, and a flag that it has one."""
            pending = Signal(name=f"{name}_pending")
            update = Signal.like(matmul.payload.update, name=f"{name}_signal")
            with m.If(start):
                m.d.sync += [pending.eq(instr.signal), *assign_update(update, instr)]
            return update, pending

        streamer_signal, streamer_pending = held(self._streamer.start, "streamer")
        loader_signal, loader_pending = held(self._loader.start, "loader")
        is_sync = accepted & (instr.op == _Code.SYNC)
        m.d.comb += accepted.eq(self.engine.instr.valid & self.engine.instr.ready)
        with m.If(is_sync):
            m.d.comb += [
                *assign_update(matmul.payload.update, instr),
                matmul.valid.eq(instr.signal),
            ]
        with m.Else():
            m.d.comb += [
                matmul.payload.update.eq(streamer_signal),
                matmul.valid.eq(self._streamer.issued & self._streamer.last & streamer_pending),
            ]
        m.d.comb += [
            load.payload.update.eq(loader_signal),
            load.valid.eq(self._loader.complete & loader_pending),
        ]
        wiring.connect(m, wiring.flipped(self.engine.signals[0]), matmuls.signals)
        wiring.connect(m, wiring.flipped(self.engine.signals[1]), loads.signals)

    def _report(self, m, matmuls, loads):
        """Activity for the counters, and idleness for `halt`."""
        loader, streamer = self._loader, self._streamer
        working = Signal()
        m.d.comb += [
            working.eq(streamer.issued | loader.issued | loader.issued_zero),
            self.engine.idle.eq(
                loader.idle
                & streamer.idle
                & ~self._in_array
                & (matmuls.level == 0)
                & (loads.level == 0)
            ),
            self.engine.busy.eq(working),
            self.engine.stall.eq(~working & (~self.engine.idle | self.engine.instr.valid)),
        ]

    def _trace(self, m):
        """The engine's part of the trace."""
        loader, streamer = self._loader, self._streamer
        instr, trace = self.engine.instr, self.engine.trace
        # A sync begins when the last matmul is complete, and is itself so a cycle later.
        begins, synced = Signal(), Signal()
        ended = delay(m, streamer.issued & streamer.last, complete_cycles(self.config), "ended")
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
            (~streamer.idle & (streamer.cause == Trap.NONE), Activity.PSUM),
            (loader.read.valid, Activity.OPERAND),
            (~loader.idle & ~loader.out_of_range, Activity.STATIONARY),
            (~self.engine.idle, Activity.DRAINING),
            (instr.valid, Activity.STARTING),
        )
        m.d.comb += trace.activity.eq(prioritised(reasons, Activity.WORK))
