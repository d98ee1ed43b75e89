"""The in-order instruction queue of an engine, and the wait at its head."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.control.semaphores import wait_layout
from tegula.engine.interface import SEQUENCE_BITS, TAG_BITS, instruction_layout
from tegula.isa.instructions import (
    CODE_BITS,
    GRANULE_BITS,
    HEADER,
    INSTRUCTIONS,
    PAYLOAD_OFFSET,
    PC_BITS,
    Engine,
)
from tegula.lib.storage import add_lut_memory

__all__ = [
    "INSTRUCTION_GRANULES",
    "WAIT_CYCLES",
    "EngineQueue",
    "dispatch_signature",
    "part_layout",
]

WAIT_CYCLES = 2
"""Cycles from dispatch into an empty queue to `instr.valid` of an instruction whose wait is over
already: the wait is registered, then chosen by the semaphores, then executed. Without a wait: 0."""

INSTRUCTION_GRANULES = max(instruction.granules for instruction in INSTRUCTIONS)
"""Granules of the longest instruction."""


def part_layout() -> data.StructLayout:
    """A granule of the instruction that is being collected, stored as each of `store` (one-hot)."""
    return data.StructLayout({"bits": GRANULE_BITS, "pc": PC_BITS, "store": INSTRUCTION_GRANULES})


def dispatch_signature() -> stream.Signature:
    """A handshake without payload: the instruction that has been collected is for this queue."""
    return stream.Signature(0)


class EngineQueue(wiring.Component):
    """FIFO of `queue_depth` instructions whose head is held back until its wait is over.

    Granules go straight into the slot behind the last instruction, which is always free (there are
    twice as many slots as instructions), and a dispatch only makes the slot count. So nothing is
    copied: an instruction dispatched into an empty queue is at the head in the same cycle, and
    reaches the engine in it, if it does not wait. An instruction counts from its dispatch until the
    engine takes it, also while it waits at the head; the wait of the head goes on while the engine
    works on earlier instructions, and an engine that is ready gets the instruction in the cycle in
    which the wait ends.

    Latency: 0 or `WAIT_CYCLES`. Throughput: an instruction a cycle, one that waits in three cycles.
    A full queue has room in the second cycle after an instruction left it.

    Parameters
    ----------
    config, engine
        Give the depth, and the layout of the instructions.

    Members
    -------
    part : In(part_layout())
        What is written behind the last instruction, or behind the one that is dispatched.
    dispatch : In(dispatch_signature())
        The slot holds a checked instruction.
    wait : Out(stream of `wait_layout`)
        The wait of the head, to the semaphores; its handshake is the end of the wait. `ready` is
        low while `valid` is, and while `clear` is high.
    instr : Out(stream of `instruction_layout(engine)`)
        To the engine. Bits beyond the instruction's own granules are those of an earlier one.
    clear : In(1)
        Drops all instructions; `instr.valid` is low at once, `wait.valid` in the next cycle.
    empty : Out(1)
        No instruction is held.
    waiting : Out(1)
        The head's wait is not over. Its `pc` and `sem` are `head_tag` and `head_sem`.
    head_tag : Out(TAG_BITS), head_sem : Out(range(semaphores))
        Position of the head in granules and its sequence number; the semaphore it waits on.
    """

    def __init__(self, config: TileConfig, engine: Engine):
        self._config = config
        self._layout = instruction_layout(engine)
        super().__init__(
            {
                "part": In(part_layout()),
                "dispatch": In(dispatch_signature()),
                "wait": Out(stream.Signature(wait_layout(config))),
                "instr": Out(stream.Signature(self._layout)),
                "clear": In(1),
                "empty": Out(1),
                "waiting": Out(1),
                "head_tag": Out(TAG_BITS),
                "head_sem": Out(range(config.semaphores)),
            }
        )

    def elaborate(self, platform):
        """Slots, the count of instructions, and the head's wait."""
        depth = self._config.queue_depth
        m = Module()
        sequence, head = Signal(SEQUENCE_BITS), Signal(range(2 * depth))
        tail = sequence[: len(head)]
        level = Signal(range(depth + 1))
        has_room, held = Signal(init=1), Signal()
        push, pop = Signal(), Signal()
        next_sequence = Signal(SEQUENCE_BITS)
        m.d.comb += next_sequence.eq(sequence + push)
        header, instr = self._store(m, next_sequence, head)

        # `pop` comes late in its cycle, so what it makes room for counts from the next one on.
        popped = Signal()
        is_last = Signal()
        m.d.comb += [
            self.dispatch.ready.eq(has_room),
            push.eq(self.dispatch.valid & has_room),
            pop.eq(self.instr.valid & self.instr.ready),
            is_last.eq((head + 1)[: len(head)] == tail),
        ]
        m.d.sync += [
            sequence.eq(next_sequence),
            head.eq(head + pop),
            popped.eq(pop),
            level.eq(level + push - popped),
            has_room.eq(popped | ((level != depth) & ~(push & (level == depth - 1)))),
            held.eq((push & ~(pop & ~held)) | (held & ~(pop & is_last))),
        ]

        at_head = held | self.dispatch.valid
        requests, over = Signal(), Signal()
        wait = Signal(wait_layout(self._config), reset_less=True)
        # The end of a wait comes late in its cycle: it meets as little logic as can be.
        ends = self.wait.ready
        goes = at_head & (~header.wait | over) & ~self.clear
        m.d.sync += [
            requests.eq(Mux(requests, ~ends, at_head & header.wait & ~over)),
            over.eq((over | ends) & ~pop),
        ]
        with m.If(~requests):
            m.d.sync += [
                wait.sem.eq(header.wait_sem),
                wait.value.eq(header.wait_value),
                wait.consume.eq(header.consume),
            ]
        with m.If(self.clear):
            m.d.sync += [
                signal.eq(0) for signal in (sequence, head, level, popped, held, requests, over)
            ]
            m.d.sync += has_room.eq(1)

        m.d.comb += [
            self.instr.valid.eq(goes | ends),
            self.instr.payload.eq(instr),
            self.wait.valid.eq(requests),
            self.wait.payload.eq(wait),
            self.waiting.eq(requests),
            self.empty.eq(~held),
            self.head_tag.eq(instr.pc),
            self.head_sem.eq(wait.sem),
        ]
        return m

    def _store(self, m: Module, sequence, head):
        """Memories of granules, written at `sequence`; header and instruction at `head`."""
        tail = sequence[: len(head)]
        payload_bits = self.instr.payload.payload.shape().width
        needed = PAYLOAD_OFFSET + payload_bits
        granules = []
        for index in range(-(-needed // GRANULE_BITS)):
            bits = self.part.bits[: min(needed - index * GRANULE_BITS, GRANULE_BITS)]
            granules.append(self._memory(m, f"granule{index}", index, bits, tail, head))
        pc = self._memory(m, "tags", 0, Cat(self.part.pc, sequence), tail, head)
        word = Cat(granules)
        header = data.View(
            data.FlexibleLayout(
                needed, {field.name: data.Field(field.width, field.offset) for field in HEADER}
            ),
            word,
        )
        instr = Signal(self._layout)
        m.d.comb += [
            instr.pc.eq(pc),
            instr.op.eq(word[:CODE_BITS]),
            instr.signal.eq(header.signal),
            instr.signal_sem.eq(header.signal_sem),
            instr.signal_value.eq(header.signal_value),
            instr.payload.eq(word[PAYLOAD_OFFSET:]),
        ]
        return header, instr

    def _memory(self, m: Module, name: str, granule: int, value, tail, head):
        """Memory of `value` of granule `granule` of each slot."""
        return add_lut_memory(
            m,
            name,
            len(value),
            2 * self._config.queue_depth,
            write=(self.part.store[granule], tail, value),
            read=head,
        )
