"""Decoder: granules become checked instructions for the queues."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.control.fetch import granule_layout
from tegula.control.queues import queue_layout
from tegula.isa.instructions import (
    CODE_BITS,
    ENGINES,
    GRANULE_BITS,
    HEADER,
    INSTRUCTIONS,
    MEMORY_ADDRESS_BITS,
    OPCODE_BITS,
    PAYLOAD_OFFSET,
    PC_BITS,
    Engine,
    Field,
)
from tegula.isa.traps import CAUSE_BITS, Trap

__all__ = ["DECODE_CYCLES", "Decoder"]

DECODE_CYCLES = 2
"""Cycles from the handshake of an instruction's last granule to its dispatch."""

_SLOTS = max(instruction.granules for instruction in INSTRUCTIONS)


def _field_error(field: Field, value, config: TileConfig):
    """1 if `value` is not in `Field.allowed`: comparators only where limits are tighter."""
    allowed = field.allowed(config)
    if isinstance(allowed, tuple):
        return ~Cat(value == code for code in allowed).any()
    if field.signed:
        if (allowed[0], allowed[-1]) != (field.low, field.high):
            raise NotImplementedError(f"limits of signed field {field.name}")
        return 0
    error = 0
    if allowed[0] > field.low:
        error |= value < allowed[0]
    if allowed[-1] < field.high:
        error |= value > allowed[-1]
    return error


class Decoder(wiring.Component):
    """Collection, checks and dispatch of instructions to the engines' queues.

    Checks, in this order: the opcode is in the table; each granule arrives (no bus error, no end of
    the program); unclaimed bits are zero and every field is in `Field.allowed(config)`. The decoder
    stops for good, until `clear`, at the first fault and at `halt`.

    Latency: `DECODE_CYCLES`: one register stage before the checks, one behind. Throughput: a
    granule a cycle.

    Parameters
    ----------
    config
        Gives the limits of the fields.

    Members
    -------
    granule : In(stream of `granule_layout`)
        The program in order.
    granules : In(PC_BITS + 1)
        Size of the program.
    <engine> : Out(stream of `queue_layout`)
        To the queues; at most one is valid. Payload bits beyond the instruction's own granules are
        what an earlier instruction left there.
    clear : In(1)
        Begin a new program. `valid` may fall without a handshake.
    stuck : Out(1)
        Nothing can be dispatched until a queue has room: a queue is full, or the next is `halted`.
    halted : Out(1)
        All instructions before `halt` are dispatched.
    fault : Out(1), fault_cause : Out(CAUSE_BITS), fault_pc : Out(PC_BITS + 1)
    fault_address : Out(MEMORY_ADDRESS_BITS)
        All instructions before this trap are dispatched. `fault_pc` counts granules.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "granule": In(stream.Signature(granule_layout())),
                "granules": In(PC_BITS + 1),
                **{
                    engine.name.lower(): Out(stream.Signature(queue_layout(config, engine)))
                    for engine in ENGINES
                },
                "clear": In(1),
                "stuck": Out(1),
                "halted": Out(1),
                "fault": Out(1),
                "fault_cause": Out(CAUSE_BITS),
                "fault_pc": Out(PC_BITS + 1),
                "fault_address": Out(MEMORY_ADDRESS_BITS),
            }
        )

    def elaborate(self, platform):
        """Reception, collection and checks, dispatch or fault."""
        m = Module()
        advance, dispatched = Signal(), Signal()
        arrived, arrived_valid = self._receive(m, advance)
        held, held_valid = self._collect(m, arrived, arrived_valid, advance, dispatched)
        m.d.comb += advance.eq(arrived_valid & (~held_valid | dispatched))
        legal = Signal()
        m.d.comb += legal.eq(held_valid & ~held.resp[1] & held.known & held.legal)
        self._dispatch(m, held, legal, dispatched)
        ended = Signal()
        nothing_left = ~arrived_valid & ~held_valid & (held.end == self.granules)
        m.d.sync += ended.eq(nothing_left & ~self.clear)
        self._report(m, held, held_valid, ended)
        return m

    def _receive(self, m: Module, advance):
        """First stage: the granule received, and a spare so that `ready` is a register."""
        arrived, arrived_valid = Signal(granule_layout()), Signal()
        spare, spare_valid = Signal(granule_layout()), Signal()
        m.d.comb += self.granule.ready.eq(~spare_valid)
        with m.If(~arrived_valid | advance):
            m.d.sync += [
                arrived.eq(Mux(spare_valid, spare, self.granule.payload)),
                arrived_valid.eq(spare_valid | self.granule.valid),
                spare_valid.eq(0),
            ]
        with m.Elif(~spare_valid):
            m.d.sync += [spare.eq(self.granule.payload), spare_valid.eq(self.granule.valid)]
        with m.If(self.clear):
            m.d.sync += [arrived_valid.eq(0), spare_valid.eq(0)]
        return arrived, arrived_valid

    def _collect(self, m: Module, arrived, arrived_valid, advance, dispatched):
        """Second stage: the instruction as far as it has arrived, and the outcome of its checks."""
        held = Signal(
            data.StructLayout(
                {
                    "granules": data.ArrayLayout(GRANULE_BITS, _SLOTS),
                    "pc": PC_BITS + 1,
                    "end": PC_BITS + 1,
                    "resp": 2,
                    "known": 1,
                    "legal": 1,
                }
            )
        )
        held_valid, slot = Signal(), Signal(range(_SLOTS))
        opcode = Mux(slot == 0, arrived.bits, held.granules[0])[:OPCODE_BITS]
        known, last, error = self._check(m, arrived.bits, opcode, slot)
        done = last | arrived.resp[1] | ~known

        with m.If(dispatched):
            m.d.sync += held_valid.eq(0)
        with m.If(advance):
            with m.Switch(slot):
                for index in range(_SLOTS):
                    with m.Case(index):
                        m.d.sync += held.granules[index].eq(arrived.bits)
            with m.If(arrived.resp[1]):
                m.d.sync += held.granules[0].eq(arrived.bits)
            with m.If((slot == 0) | arrived.resp[1]):
                m.d.sync += held.pc.eq(held.end)
            m.d.sync += [
                held.end.eq(held.end + 1),
                held.resp.eq(arrived.resp),
                held.known.eq(known),
                held.legal.eq(((slot == 0) | held.legal) & ~error),
                held_valid.eq(done),
                slot.eq(Mux(done, 0, slot + 1)),
            ]
        with m.If(self.clear):
            m.d.sync += [held_valid.eq(0), slot.eq(0), held.end.eq(0)]
        return held, held_valid

    def _check(self, m: Module, bits, opcode, slot):
        """Three bits: the opcode is known, this is the last granule, it breaks a rule."""
        known, last, error = Signal(), Signal(), Signal()
        with m.Switch(opcode):
            for instruction in INSTRUCTIONS:
                with m.Case(instruction.opcode):
                    m.d.comb += [known.eq(1), last.eq(slot == instruction.granules - 1)]
                    with m.Switch(slot):
                        for index in range(instruction.granules):
                            with m.Case(index):
                                m.d.comb += error.eq(self._granule_error(instruction, index, bits))
        return known, last, error

    def _granule_error(self, instruction, index: int, bits):
        """1 if granule `index` of `instruction` has a stray bit or a field out of its limits."""
        first = index * GRANULE_BITS
        unclaimed = (1 << GRANULE_BITS) - 1
        if index == 0:
            unclaimed &= ~((1 << OPCODE_BITS) - 1)
        errors = []
        for field in instruction.fields:
            if not first <= field.offset < first + GRANULE_BITS:
                continue
            low = field.offset - first
            if low + field.width > GRANULE_BITS:
                raise ValueError(f"{instruction.mnemonic}: {field.name} crosses a granule")
            unclaimed &= ~(((1 << field.width) - 1) << low)
            errors.append(_field_error(field, bits[low : low + field.width], self._config))
        errors.append((bits & unclaimed).any())
        errors += self._combinations(instruction, index, bits)
        return Cat(errors).any()

    def _combinations(self, instruction, index: int, bits) -> list:
        """Bits, 1 if granule `index` has all fields of a forbidden combination."""
        offsets = {field.name: (field.offset, field.width) for field in instruction.fields}
        errors = []
        for rule in instruction.forbidden:
            places = [offsets[name] for name, _ in rule]
            granules = {offset // GRANULE_BITS for offset, _ in places}
            if len(granules) > 1:
                raise ValueError(f"{instruction.mnemonic}: a combination crosses granules")
            if granules == {index}:
                errors.append(
                    Cat(
                        Cat(
                            bits[offset % GRANULE_BITS :][:width] == value for value in values
                        ).any()
                        for (offset, width), (_, values) in zip(places, rule, strict=True)
                    ).all()
                )
        return errors

    def _dispatch(self, m: Module, held, legal, dispatched) -> None:
        """The held instruction, offered to the queue that its opcode names."""
        word = held.granules.as_value()
        header = data.View(
            data.FlexibleLayout(
                len(word), {field.name: data.Field(field.width, field.offset) for field in HEADER}
            ),
            word,
        )
        engine_code = word[CODE_BITS:OPCODE_BITS]
        ready = Signal()
        for engine in ENGINES:
            queue = getattr(self, engine.name.lower())
            item = queue.payload
            m.d.comb += [
                item.waits.eq(header.wait),
                item.wait.sem.eq(header.wait_sem),
                item.wait.value.eq(header.wait_value),
                item.wait.consume.eq(header.consume),
                item.instr.pc.eq(held.pc),
                item.instr.op.eq(word[:CODE_BITS]),
                item.instr.signal.eq(header.signal),
                item.instr.signal_sem.eq(header.signal_sem),
                item.instr.signal_value.eq(header.signal_value),
                item.instr.payload.eq(word[PAYLOAD_OFFSET:]),
            ]
            with m.If(engine_code == engine):
                m.d.comb += [queue.valid.eq(legal), ready.eq(queue.ready)]
        m.d.comb += [
            self.halted.eq(legal & (engine_code == Engine.CONTROL)),
            dispatched.eq(legal & ready),
            self.stuck.eq(legal & ~ready),
        ]

    def _report(self, m: Module, held, held_valid, ended) -> None:
        """Fault of the held instruction, or that there is none."""
        with m.If(ended):
            self._fault(m, Trap.PROGRAM_END, self.granules, 0)
        with m.Elif(held_valid & held.resp[1]):
            cause = Mux(held.resp[0], Trap.BUS_DECERR, Trap.BUS_SLVERR)
            self._fault(m, cause, held.pc, held.granules[0])
        with m.Elif(held_valid & ~held.known):
            self._fault(m, Trap.ILLEGAL_OPCODE, held.pc, held.granules[0][:OPCODE_BITS])
        with m.Elif(held_valid & ~held.legal):
            self._fault(m, Trap.ILLEGAL_FIELD, held.pc, 0)

    def _fault(self, m: Module, cause, pc, address) -> None:
        m.d.comb += [
            self.fault.eq(1),
            self.fault_cause.eq(cause),
            self.fault_pc.eq(pc),
            self.fault_address.eq(address),
        ]
