"""Instructions executed item by item: acceptance, checks, traps and the end of reductions."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.engine.interface import (
    TAG_BITS,
    EngineInterface,
    assign_update,
    instruction_layout,
    ticket_layout,
    trap_layout,
)
from tegula.engine.retirement import Retirement
from tegula.isa.instructions import Engine
from tegula.isa.traps import Trap
from tegula.lib.mux import prioritised

__all__ = [
    "CHECKED_ADDRESS",
    "CHECKED_ADDRESS_BITS",
    "SCALAR_ADDRESS_BITS",
    "SEQUENCER_STATE",
    "Check",
    "Sequencer",
    "connect_sequencer",
]

CHECKED_ADDRESS_BITS = 20
"""Bits of an address that may be one step away from a checked one; trap records hold as many."""

CHECKED_ADDRESS = signed(CHECKED_ADDRESS_BITS)
"""An address one step (2**11) away from a checked one."""

SCALAR_ADDRESS_BITS = 16
"""Bits of a scalar that are its address, where it is one a partition."""

SEQUENCER_STATE = {"pc": TAG_BITS, "finishing": 1, "combining": 1, "trapped": 1, "reported": 1}
"""State of every `Sequencer`.

pc
    Position of the instruction in work.
finishing, combining
    The result of a reduction is still to come; the partial results are being combined.
trapped, reported
    An item has failed its checks; `trap_valid` has been high for it.
"""

Check = tuple[Value, Trap, Value]
"""A condition that is a fault, its cause, and the address that the trap record shows."""


class Sequencer(wiring.Component):
    """Base of a sequencer: one instruction after the other, each of them item by item.

    A subclass keeps its state in one signal, `_state`, whose layout has the fields of
    `SEQUENCER_STATE`, and `x_at`, `left`, `running` and `partial` for the elements.

    Parameters
    ----------
    config
        The tile.
    engine
        The engine of the instructions.
    members
        The ports that the subclass has besides.

    Members
    -------
    instr : In(stream of `instruction_layout(engine)`)
        Instructions.
    start : Out(1), entry : Out(ticket_layout(config, "sync", "signal")), room : In(1)
        An instruction starts; its ticket; there is room for that.
    finish : Out(1)
        For one cycle, with the lanes drained: combine the partial results.
    drained : In(1), single : In(1)
        No item is in flight; the instruction in work is the only one whose signal is pending.
    stop : In(1)
        Drop everything; held until `idle`.
    trap : Out(trap_layout), trap_valid : Out(1)
        Pulsed when all items before the fault, and all earlier instructions, are complete.
    denied : Out(1), idle : Out(1)
        A request for an operand was not granted; nothing is pending here.
    """

    _TO_COME: ClassVar[Sequence[str]]
    """Bits of the state that say that something of the instruction is still to come."""

    _state: data.View

    def __init__(self, config: TileConfig, engine: Engine, members: dict[str, wiring.Member]):
        self._config = config
        super().__init__(
            {
                "instr": In(stream.Signature(instruction_layout(engine))),
                "start": Out(1),
                "entry": Out(ticket_layout(config, "sync", "signal")),
                "room": In(1),
                **members,
                "finish": Out(1),
                "drained": In(1),
                "single": In(1),
                "stop": In(1),
                "trap": Out(trap_layout(config)),
                "trap_valid": Out(1),
                "denied": Out(1),
                "idle": Out(1),
            }
        )

    def _take(self, m: Module, *, busy: Value, waits: Value, has_work: Value) -> None:
        """Start of the next instruction, unless this is `busy`; if it `waits`, with drained lanes.

        An instruction that has no work is complete when all before it are.
        """
        instr = self.instr.payload
        m.d.comb += [
            self.instr.ready.eq(~busy & ~self.stop & self.room & (self.drained | ~waits)),
            self.start.eq(self.instr.valid & self.instr.ready),
            self.entry.sync.eq(~has_work),
            self.entry.signal.eq(instr.signal),
            *assign_update(self.entry.update, instr),
            self.idle.eq(~busy),
        ]

    @contextmanager
    def _advance_element(
        self,
        m: Module,
        scalar0: Value,
        scalar1: Value,
        *,
        scalar1_at: Value,
        x_addr: Value,
        x_stride: Value,
    ) -> Iterator[None]:
        """State after an item: a scalar that was due no longer is, or an element fewer is left.

        `x_at` becomes the address of the next item: of the second scalar, of the first element, or
        of the next. What else an element changes is stated in the body of the ``with``.
        """
        state = self._state
        with m.If(scalar0):
            m.d.sync += [scalar0.eq(0), state.x_at.eq(Mux(scalar1, scalar1_at, x_addr))]
        with m.Elif(scalar1):
            m.d.sync += [scalar1.eq(0), state.x_at.eq(x_addr)]
        with m.Else():
            m.d.sync += [
                state.x_at.eq(state.x_at + x_stride),
                state.left.eq(state.left - 1),
                state.running.eq(state.left != 1),
                state.partial.eq(state.partial + 1),
            ]
            yield

    def _find_fault(self, m: Module, granted: Value, checks: Sequence[Check]) -> Signal:
        """1 if an item is `granted` that fails a check; the first that it fails is recorded.

        Until an item has failed the record is registered whether it is needed or not.
        """
        state = self._state
        cause, address = Signal(Trap), Signal(Shape.cast(CHECKED_ADDRESS).width)
        fault = Signal()
        m.d.comb += [
            cause.eq(prioritised([(fails, trap) for fails, trap, _ in checks], Trap.NONE)),
            address.eq(prioritised([(fails, at) for fails, _, at in checks], 0)),
            fault.eq(granted & Cat(fails for fails, _, _ in checks).any()),
        ]
        with m.If(~state.trapped):
            m.d.sync += [
                self.trap.cause.eq(cause),
                self.trap.pc.eq(state.pc),
                self.trap.address.eq(address),
            ]
        return fault

    def _end(self, m: Module, *, fault: Value, left: Value) -> None:
        """End of a reduction, and report of a trap, once nothing is `left` before them; stop."""
        state = self._state
        over = ~left & self.drained & ~self.stop
        m.d.comb += [
            self.finish.eq(state.finishing & ~state.combining & over),
            self.trap_valid.eq(state.trapped & ~state.reported & self.single & over),
        ]
        with m.If(self.finish):
            m.d.sync += state.combining.eq(1)
        with m.If(state.combining & self.drained):
            m.d.sync += [state.combining.eq(0), state.finishing.eq(0)]
        dropped = [state[name].eq(0) for name in self._TO_COME]
        with m.If(fault):
            m.d.sync += [*dropped, state.trapped.eq(1)]
        with m.If(self.trap_valid):
            m.d.sync += state.reported.eq(1)
        with m.If(self.stop):
            m.d.sync += [
                *dropped,
                state.combining.eq(0),
                state.trapped.eq(0),
                state.reported.eq(0),
            ]


def connect_sequencer(
    m: Module,
    engine: EngineInterface,
    sequencer: Sequencer,
    retirement: Retirement,
    *,
    drained: Value,
    done: Value,
) -> None:
    """Connection of a sequencer with its engine's port and with its retirement.

    Parameters
    ----------
    engine
        The engine's port (`EngineSignature`); `busy` and `stall` are left to the caller.
    drained
        No item is in flight behind the sequencer.
    done
        An instruction with work has its last effect in this cycle.
    """
    wiring.connect(m, wiring.flipped(engine.instr), sequencer.instr)
    wiring.connect(m, retirement.signals, wiring.flipped(engine.signals[0]))
    m.d.comb += [
        sequencer.room.eq(retirement.tickets.ready),
        sequencer.drained.eq(drained),
        sequencer.single.eq(retirement.level == 1),
        sequencer.stop.eq(engine.stop),
        retirement.tickets.valid.eq(sequencer.start),
        retirement.tickets.payload.eq(sequencer.entry),
        retirement.done.eq(done),
        engine.trap.eq(sequencer.trap),
        engine.trap_valid.eq(sequencer.trap_valid),
        engine.idle.eq(sequencer.idle & sequencer.drained & (retirement.level == 0)),
    ]
