"""Decoder: granules become checked instructions for the queues."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.control.fetch import granule_layout
from tegula.control.queues import INSTRUCTION_GRANULES, dispatch_signature, part_layout
from tegula.isa.instructions import (
    CODE_BITS,
    ENGINES,
    GRANULE_BITS,
    INSTRUCTIONS,
    MEMORY_ADDRESS_BITS,
    OPCODE_BITS,
    PC_BITS,
    Engine,
    Field,
)
from tegula.isa.traps import CAUSE_BITS, Trap

__all__ = ["DECODE_CYCLES", "Decoder"]

DECODE_CYCLES = 1
"""Cycles from the handshake of an instruction's last granule to its dispatch."""


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

    Latency: `DECODE_CYCLES`: granules come from registers, and the outcome of the checks goes into
    registers. Throughput: a granule a cycle.

    Parameters
    ----------
    config
        Gives the limits of the fields.

    Members
    -------
    granule : In(stream of `granule_layout`)
        The program in order.
    granules : In(PC_BITS + 1), failed_burst : In(axi_addr_width)
        Size of the program; address of the burst whose beat failed first.
    part : Out(part_layout())
        Granules, to all queues.
    <engine> : Out(dispatch_signature())
        To the queues; at most one is valid. The instruction is the granules stored since the
        dispatch before.
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
                "failed_burst": In(config.axi_addr_width),
                "part": Out(part_layout()),
                **{engine.name.lower(): Out(dispatch_signature()) for engine in ENGINES},
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
        """Collection and checks, dispatch or fault."""
        m = Module()
        legal, dispatched = Signal(), Signal()
        held, candidates, pending = self._collect(m, legal, dispatched)
        self._dispatch(m, candidates, legal, dispatched)
        ended = Signal()
        nothing_left = ~self.granule.valid & ~pending & (held.end == self.granules)
        m.d.sync += ended.eq(nothing_left & ~self.clear)
        self._report(m, held, pending & ~legal, ended)
        return m

    def _collect(self, m: Module, legal, dispatched):
        """The instruction as far as it has arrived, the outcome of its checks, and its queue.

        Its bits are in the queues: each granule is written into the free slot of all of them.
        """
        held = Signal(
            data.StructLayout(
                {
                    "opcode": OPCODE_BITS,
                    "pc": PC_BITS + 1,
                    "end": PC_BITS + 1,
                    "resp": 2,
                    "known": 1,
                }
            )
        )
        granule = self.granule.payload
        slot = Signal(INSTRUCTION_GRANULES, init=1)
        pending, so_far, free, go = Signal(), Signal(), Signal(), Signal()
        candidates = Signal(len(ENGINES) + 1)
        opcode = Mux(slot[0], granule.bits[:OPCODE_BITS], held.opcode)
        known, last, error = self._check(m, granule.bits, opcode, slot)
        failed = granule.resp[1]
        done = last | failed | ~known
        within = (slot[0] | so_far) & ~error

        m.d.comb += [
            free.eq(~pending | dispatched),
            self.granule.ready.eq(free),
            go.eq(self.granule.valid & free),
            self.part.bits.eq(granule.bits),
            self.part.pc.eq(held.end),
            self.part.store.eq(slot & free.replicate(len(slot))),
        ]
        with m.If(free):
            m.d.sync += [
                pending.eq(self.granule.valid & done),
                legal.eq(self.granule.valid & last & known & ~failed & within),
            ]
        with m.If(go):
            with m.If(slot[0]):
                m.d.sync += held.opcode.eq(granule.bits)
            with m.If(slot[0] | failed):
                m.d.sync += held.pc.eq(held.end)
            m.d.sync += [
                held.end.eq(held.end + 1),
                held.resp.eq(granule.resp),
                held.known.eq(known),
                so_far.eq(within),
                slot.eq(Mux(done, 1, slot << 1)),
                candidates.eq(
                    Cat(opcode[CODE_BITS:] == code for code in (*ENGINES, Engine.CONTROL))
                ),
            ]
        with m.If(self.clear):
            m.d.sync += [pending.eq(0), legal.eq(0), slot.eq(1), held.end.eq(0)]
        return held, candidates, pending

    def _check(self, m: Module, bits, opcode, slot):
        """Three bits: the opcode is known, this is the last granule, it breaks a rule.

        `slot` is one-hot.
        """
        known, last, error = Signal(), Signal(), Signal()
        with m.Switch(opcode):
            for instruction in INSTRUCTIONS:
                with m.Case(instruction.opcode):
                    errors = Cat(
                        self._granule_error(instruction, index, bits)
                        for index in range(instruction.granules)
                    )
                    m.d.comb += [
                        known.eq(1),
                        last.eq(slot[instruction.granules - 1]),
                        error.eq((errors & slot).any()),
                    ]
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

    def _dispatch(self, m: Module, candidates, legal, dispatched) -> None:
        """The instruction, offered to the queue that its opcode names."""
        queues = [getattr(self, engine.name.lower()) for engine in ENGINES]
        accepted = Cat(queue.ready for queue in queues)
        m.d.comb += [
            *(queue.valid.eq(legal & candidates[i]) for i, queue in enumerate(queues)),
            self.halted.eq(legal & candidates[-1]),
            dispatched.eq(legal & (candidates & accepted).any()),
            self.stuck.eq(legal & ~dispatched),
        ]

    def _report(self, m: Module, held, faulty, ended) -> None:
        """Fault of the instruction, or that there is none."""
        with m.If(ended):
            self._fault(m, Trap.PROGRAM_END, self.granules, 0)
        with m.Elif(faulty & held.resp[1]):
            cause = Mux(held.resp[0], Trap.BUS_DECERR, Trap.BUS_SLVERR)
            self._fault(m, cause, held.pc, self.failed_burst)
        with m.Elif(faulty & ~held.known):
            self._fault(m, Trap.ILLEGAL_OPCODE, held.pc, held.opcode)
        with m.Elif(faulty):
            self._fault(m, Trap.ILLEGAL_FIELD, held.pc, 0)

    def _fault(self, m: Module, cause, pc, address) -> None:
        m.d.comb += [
            self.fault.eq(1),
            self.fault_cause.eq(cause),
            self.fault_pc.eq(pc),
            self.fault_address.eq(address),
        ]
