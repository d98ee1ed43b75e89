"""The port between the control front end and an engine, and its payloads."""

from amaranth.hdl import Shape
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.engine.trace import CONTROL_FIELDS, ENGINE_FIELDS, PORTS
from tegula.isa.instructions import (
    CODE_BITS,
    INSTRUCTIONS,
    MEMORY_ADDRESS_BITS,
    PAYLOAD_OFFSET,
    PC_BITS,
    SEMAPHORE_BITS,
    SIGNAL_VALUE_BITS,
    Engine,
    by_mnemonic,
)
from tegula.isa.traps import CAUSE_BITS

__all__ = [
    "SEQUENCE_BITS",
    "SIGNAL_TO_INSTRUCTION_CYCLES",
    "TAG_BITS",
    "EngineInterface",
    "EngineSignature",
    "assign_update",
    "instruction_layout",
    "payload_layout",
    "signal_layout",
    "ticket_layout",
    "trace_signature",
    "traced",
    "trap_layout",
]

SIGNAL_TO_INSTRUCTION_CYCLES = 4
"""Cycles from the handshake of a signal to the first in which an instruction that waits for it can
be in the `InstructionRegister` of an engine. So an engine whose completion is known ahead may offer
its signal up to 3 cycles before the last cycle in which it writes: what the signal wakes requests
nothing before the cycle after that."""

SEQUENCE_BITS = 8
"""Bits of an instruction's sequence number in its engine. An engine and its queue hold fewer
instructions than these number."""

TAG_BITS = PC_BITS + SEQUENCE_BITS
"""Bits of what an engine carries with an instruction for the record of a trap, as `pc`: position in
the program in granules, and above that its sequence number."""

_SIGNAL_FIELDS = {"signal": 1, "signal_sem": SEMAPHORE_BITS, "signal_value": SIGNAL_VALUE_BITS}
"""The synchronisation fields that an engine gets: what it sends when an instruction is complete."""

_SIGNAL_PORTS = ("signals0", "signals1")


_TICKET_FIELDS = {"pc": TAG_BITS, "sync": 1, "signal": 1}


_OWN_TRACE = ("begin", "complete", "activity")


def _engine_trace_layout() -> data.StructLayout:
    return data.StructLayout({name: ENGINE_FIELDS[name] for name in _OWN_TRACE})


def _payload_bits(engine: Engine) -> int:
    ends = [
        field.offset + field.width
        for instruction in INSTRUCTIONS
        if instruction.engine == engine
        for field in instruction.payload
    ]
    return max(ends) - PAYLOAD_OFFSET


def instruction_layout(engine: Engine) -> data.StructLayout:
    """An instruction from the queue of `engine`: its wait is over, its signal is still to send."""
    return data.StructLayout(
        {
            "pc": TAG_BITS,
            "op": CODE_BITS,
            **_SIGNAL_FIELDS,
            "payload": _payload_bits(engine),
        }
    )


def payload_layout(mnemonic: str) -> data.FlexibleLayout:
    """Named fields of the payload of one instruction; a view over `payload` of the queue's item."""
    instruction = by_mnemonic(mnemonic)
    return data.FlexibleLayout(
        _payload_bits(instruction.engine),
        {
            field.name: data.Field(
                Shape(field.width, signed=field.signed), field.offset - PAYLOAD_OFFSET
            )
            for field in instruction.payload
        },
    )


def signal_layout(config: TileConfig) -> data.StructLayout:
    """A semaphore update: `value` is added to semaphore `sem`."""
    return data.StructLayout({"sem": range(config.semaphores), "value": SIGNAL_VALUE_BITS})


def assign_update(update: data.View, instr: data.View) -> list:
    """Assignments that make `update` (`signal_layout`) the update that `instr` signals."""
    return [update.sem.eq(instr.signal_sem), update.value.eq(instr.signal_value)]


def trap_layout(config: TileConfig) -> data.StructLayout:
    """A trap: cause (`isa.traps.Trap`), `pc` as the instruction had it, address by the cause."""
    return data.StructLayout({"cause": CAUSE_BITS, "pc": TAG_BITS, "address": MEMORY_ADDRESS_BITS})


def traced(config: TileConfig, members: dict[str, wiring.Member]) -> dict[str, wiring.Member]:
    """`members` in a tile that is traced, else none."""
    return members if config.trace else {}


def trace_signature(config: TileConfig) -> dict[str, wiring.Member]:
    """`trace_<port>` of each of `tegula.engine.trace.PORTS`: its word, if the tile is traced."""
    return traced(
        config,
        {
            f"trace_{port}": Out(
                data.StructLayout(CONTROL_FIELDS if port == "control" else ENGINE_FIELDS)
            )
            for port in PORTS
        },
    )


class EngineInterface(wiring.PureInterface):
    """Interface of an `EngineSignature`, with its signal ports as the list `signals`."""

    @property
    def signals(self) -> list:
        """The streams `signals0`, `signals1`..."""
        return [getattr(self, name) for name in self.signature.members if name in _SIGNAL_PORTS]


class EngineSignature(wiring.Signature):
    """Port between the control front end and an engine, seen from the engine.

    Members
    -------
    instr : In(stream of `instruction_layout(engine)`)
        Instructions in program order, each with its wait already over.
    signals<number> : Out(stream of `signal_layout`)
        Sent at the completion of each instruction whose `signal` bit is 1, in program order on a
        port. `signals` lists them. (Members of their own, and no array of one member, since
        Amaranth 0.5 cannot flip an interface that holds an array of interfaces.)
    trap : Out(`trap_layout`), trap_valid : Out(1)
        A trap; `trap_valid` is high for one cycle. The engine starts no further effect after it and
        waits for `stop`.
    stop : In(1)
        While high, the engine drops its work: it begins no new effect, completes the bus
        transactions that it has begun, drops pending signals, goes idle. It may act a cycle late,
        on a register of `stop`; an instruction taken by then is dropped.
    idle : Out(1)
        No instruction, bus transaction or signal is pending: low from the cycle after an
        instruction is taken until all of it is over.
    busy, stall : Out(1)
        For the counters: in the cycle before, the engine worked; it had work and could not proceed.
        Never both.
    trace : Out({begin, complete, activity})
        In a traced tile: the engine's own part of `tegula.engine.trace.ENGINE_FIELDS`.
    """

    def __init__(self, config: TileConfig, engine: Engine, signal_ports: int = 1):
        super().__init__(
            {
                "instr": In(stream.Signature(instruction_layout(engine))),
                **{
                    name: Out(stream.Signature(signal_layout(config)))
                    for name in _SIGNAL_PORTS[:signal_ports]
                },
                "trap": Out(trap_layout(config)),
                "trap_valid": Out(1),
                "stop": In(1),
                "idle": Out(1),
                "busy": Out(1),
                "stall": Out(1),
                **traced(config, {"trace": Out(_engine_trace_layout())}),
            }
        )

    def create(self, *, path=None, src_loc_at=0) -> EngineInterface:
        """An interface whose signal ports are also listed as `signals`."""
        return EngineInterface(self, path=path, src_loc_at=1 + src_loc_at)


def ticket_layout(config: TileConfig, *fields: str) -> data.StructLayout:
    """An instruction between its start and its retirement (`tegula.engine.retirement`).

    `update` is its signal. `fields` are those that an engine needs beside it, of `pc`: its position
    in the program; `sync`: it has no work of its own; `signal`: it sends its signal.
    """
    return data.StructLayout(
        {**{name: _TICKET_FIELDS[name] for name in fields}, "update": signal_layout(config)}
    )
