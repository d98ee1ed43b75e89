"""Decoder: granules become checked instructions for the queues."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tegula.config import TileConfig
from tegula.control.control_words import control_layout
from tegula.control.granule_register import granule_layout
from tegula.control.queues import INSTRUCTION_GRANULES, dispatch_signature, part_layout
from tegula.isa.instructions import (
    CODE_BITS,
    ENGINES,
    GRANULE_BITS,
    MEMORY_ADDRESS_BITS,
    OPCODE_BITS,
    PC_BITS,
    RELATIVE_SLOTS,
    Engine,
    Field,
    NoMultiple,
    available,
    by_mnemonic,
)
from tegula.isa.traps import CAUSE_BITS, Trap

__all__ = ["DECODE_CYCLES", "Decoder"]

_RECEIVERS = (*ENGINES, Engine.CONTROL)
"""Whom an instruction is for: an engine, or the front end itself."""

_HALT = by_mnemonic("halt").code

_OUTCOMES = ("known", "last", "error")

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


def _is_among(value, values):
    """1 if `value` is one of `values`, as a rule of an instruction has them."""
    if isinstance(values, NoMultiple):
        return value[: exact_log2(values.unit)].any()
    return Cat(value == each for each in values).any()


class Decoder(wiring.Component):
    """Collection, checks and dispatch of instructions: to the engines' queues, or of control.

    Checks, in this order: the opcode is one that the tile has; each granule arrives (no bus error,
    no end of the program); its fields could be added to (`misused`, `beyond`); unclaimed bits are
    zero and every field is in `Field.allowed(config)`. An instruction of control is offered until
    it is executed, and nothing is taken meanwhile. The decoder stops for good, until `clear`, at
    the first fault and at `halt`.

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
    misused, beyond : In(1), slot : In(range(RELATIVE_SLOTS))
        Of the instruction whose last granule is taken: there is a register for a field that it does
        not have; the sum in `slot` does not fit. Constant from that granule on.
    control : Out(stream of `control_layout`)
        An instruction of control but `halt`. Its handshake ends it.
    refused : In(1), refusal : In(CAUSE_BITS), refused_address : In(MEMORY_ADDRESS_BITS)
        It cannot be executed: a trap of that cause. Until `clear`.
    position : Out(PC_BITS + 1)
        Granule behind the last that was taken.
    jump : In(1), target : In(PC_BITS + 1)
        With the handshake of `control`: granule `target` comes next.
    waits : In(1)
        The instruction of control waits for a semaphore.
    clear : In(1)
        Begin a new program. `valid` may fall without a handshake.
    stuck : Out(1)
        Nothing can be dispatched until a queue has room or a wait ends: a queue is full, an
        instruction of control waits, or the next is `halted`.
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
                "misused": In(1),
                "beyond": In(1),
                "slot": In(range(RELATIVE_SLOTS)),
                "control": Out(stream.Signature(control_layout())),
                "refused": In(1),
                "refusal": In(CAUSE_BITS),
                "refused_address": In(MEMORY_ADDRESS_BITS),
                "position": Out(PC_BITS + 1),
                "jump": In(1),
                "target": In(PC_BITS + 1),
                "waits": In(1),
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
        dispatched = Signal()
        held, offered, pending, is_halt = self._collect(m, dispatched)
        self._dispatch(m, offered, is_halt, dispatched)
        ended = Signal()
        nothing_left = ~self.granule.valid & ~pending & (held.end == self.granules)
        m.d.sync += ended.eq(nothing_left & ~self.clear)
        self._report(m, held, pending & ~offered.any(), ended)
        m.d.comb += self.position.eq(held.end)
        with m.If(self.control.valid & self.control.ready & self.jump):
            m.d.sync += held.end.eq(self.target)
        return m

    def _collect(self, m: Module, dispatched):
        """The instruction as far as it has arrived, for whom it is, and that it is whole or `halt`.

        Its bits are in the queues: each granule is written into the free slot of all of them. It is
        checked for each engine as if it were for that engine: which of them counts is known later.
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
        pending, free, go, is_halt = Signal(), Signal(), Signal(), Signal()
        control = Signal(GRANULE_BITS, reset_less=True)
        candidates, legal, so_far = (
            Signal(len(_RECEIVERS), name=name) for name in ("candidates", "legal", "so_far")
        )
        opcode = Mux(slot[0], granule.bits[:OPCODE_BITS], held.opcode)
        names, lasts, errors = self._check(m, granule.bits, opcode[:CODE_BITS], slot)
        receivers = Signal(len(_RECEIVERS))
        known, failed = Signal(), granule.resp[1]
        done = (lasts & receivers).any() | failed | ~known
        within = (slot[0].replicate(len(so_far)) | so_far) & ~errors
        summed = ~failed & ~self.misused & ~self.beyond

        m.d.comb += [
            receivers.eq(Cat(opcode[CODE_BITS:] == code for code in _RECEIVERS)),
            known.eq((names & receivers).any()),
            free.eq(~pending | dispatched),
            self.granule.ready.eq(free),
            go.eq(self.granule.valid & free),
            self.part.bits.eq(granule.bits),
            self.part.pc.eq(held.end),
            self.control.payload.bits.eq(control),
            self.part.store.eq(slot & free.replicate(len(slot))),
        ]
        with m.If(free):
            m.d.sync += [
                pending.eq(self.granule.valid & done),
                legal.eq((self.granule.valid & summed).replicate(len(legal)) & lasts & within),
                is_halt.eq(opcode[:CODE_BITS] == _HALT),
            ]
            # An instruction of control has one granule.
            m.d.sync += control.eq(granule.bits)
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
                candidates.eq(receivers),
            ]
        with m.If(self.clear):
            m.d.sync += [pending.eq(0), legal.eq(0), slot.eq(1), held.end.eq(0)]
        return held, legal & candidates, pending, is_halt

    def _check(self, m: Module, bits, code, slot):
        """Three bits a receiver: it knows `code`, this is the last granule, it breaks a rule.

        `slot` is one-hot.
        """
        known, last, error = (Signal(len(_RECEIVERS), name=name) for name in _OUTCOMES)
        for index, receiver in enumerate(_RECEIVERS):
            with m.Switch(code):
                for instruction in available(self._config):
                    if instruction.engine != receiver:
                        continue
                    with m.Case(instruction.code):
                        errors = Cat(
                            self._granule_error(instruction, granule, bits)
                            for granule in range(instruction.granules)
                        )
                        m.d.comb += [
                            known[index].eq(1),
                            last[index].eq(slot[instruction.granules - 1]),
                            error[index].eq((errors & slot).any()),
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
                        _is_among(bits[offset % GRANULE_BITS :][:width], values)
                        for (offset, width), (_, values) in zip(places, rule, strict=True)
                    ).all()
                )
        return errors

    def _dispatch(self, m: Module, offered, is_halt, dispatched) -> None:
        """The instruction, offered to the queue that its opcode names, or executed here."""
        queues = [getattr(self, engine.name.lower()) for engine in ENGINES]
        full = Cat(queue.valid & ~queue.ready for queue in queues).any()
        m.d.comb += [
            *(queue.valid.eq(offered[i]) for i, queue in enumerate(queues)),
            self.halted.eq(offered[-1] & is_halt),
            self.control.valid.eq(offered[-1] & ~is_halt),
            dispatched.eq(Cat(port.valid & port.ready for port in (*queues, self.control)).any()),
            self.stuck.eq(full | self.halted | (self.control.valid & self.waits)),
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
        with m.Elif(faulty & self.beyond & ~self.misused):
            self._fault(m, Trap.RELATIVE_RANGE, held.pc, self.slot)
        with m.Elif(faulty):
            self._fault(m, Trap.ILLEGAL_FIELD, held.pc, 0)
        with m.Elif(self.refused):
            self._fault(m, self.refusal, held.pc, self.refused_address)

    def _fault(self, m: Module, cause, pc, address) -> None:
        m.d.comb += [
            self.fault.eq(1),
            self.fault_cause.eq(cause),
            self.fault_pc.eq(pc),
            self.fault_address.eq(address),
        ]
