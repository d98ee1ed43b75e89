"""Registers of a program, and their sums with fields of its instructions."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.control.control_words import control_field, control_layout
from tegula.control.granule_register import granule_layout
from tegula.isa.instructions import (
    GRANULE_BITS,
    INSTRUCTIONS,
    OPCODE_BITS,
    REGISTER_BITS,
    REGISTERS,
    RELATIVE_SLOTS,
    Engine,
    Field,
    by_mnemonic,
)
from tegula.lib.storage import add_lut_memory

__all__ = ["FieldSums"]

_READ = by_mnemonic("control.read")


def _kind(field: Field) -> tuple[int, int, bool]:
    """Position of a field in its granule, width, and whether its sum wraps."""
    return field.offset % GRANULE_BITS, field.width, field.wraps


_KINDS = tuple(sorted({_kind(f) for row in INSTRUCTIONS for f in row.relative_fields}))


def _gated(choices) -> object:
    """The value whose bit is 1, of (bit, value), or 0."""
    return reduce(or_, (value & bit.replicate(len(value)) for bit, value in choices))


class FieldSums(wiring.Component):
    """Registers, and `field + register` in the instruction that follows a `control.relative`.

    It stands between the fetch and the decoder. A granule that has a field to be added to is held
    while its sums replace its fields, one after the other; all others pass in the same cycle.

    Latency: a sum takes two cycles, a register and a field first; `control.add` has its result in
    the second. Throughput: a sum a cycle; a slot without a register below one that has one takes a
    cycle too. An instruction with sums is looked at in the cycle in which its first granule comes.

    Members
    -------
    granule : In(stream of `granule_layout`), checked : Out(stream of `granule_layout`)
        From the fetch, and to the decoder.
    replace : Out(1), replacement : Out(GRANULE_BITS)
        New bits of the granule that is held.
    control : In(control_layout())
        The instruction of control that is being executed, if `executes`.
    executes, arms, adds : In(1)
        There is one; it ends in this cycle, and is a `control.relative`, or a `control.add` in its
        second cycle or later.
    reads : In(1), number : In(REGISTER_BITS)
        It ends in this cycle, and is a `control.read` of that number.
    holds : In(1)
        No granule passes in this cycle.
    clear : In(1)
        Begin a program: registers are zero, and nothing is armed.
    operand : Out(REGISTER_BITS)
        Register that a `control.loop` names, from its second cycle on.
    misused, beyond : Out(1), slot : Out(range(RELATIVE_SLOTS))
        A register is for a field that the instruction does not have; the sum of `slot` is the first
        that does not fit its field. Until the next is armed.
    """

    def __init__(self):
        super().__init__(
            {
                "granule": In(stream.Signature(granule_layout())),
                "checked": Out(stream.Signature(granule_layout())),
                "replace": Out(1),
                "replacement": Out(GRANULE_BITS),
                "control": In(control_layout()),
                "executes": In(1),
                "arms": In(1),
                "adds": In(1),
                "reads": In(1),
                "number": In(REGISTER_BITS),
                "holds": In(1),
                "clear": In(1),
                "operand": Out(REGISTER_BITS),
                "misused": Out(1),
                "beyond": Out(1),
                "slot": Out(range(RELATIVE_SLOTS)),
            }
        )

    def elaborate(self, platform):
        """Slots, registers and the adder between them."""
        m = Module()
        bits = self.granule.payload.bits
        slots = Signal(data.ArrayLayout(data.StructLayout({"register": 4, "enable": 1}), 6))
        index = Signal(range(RELATIVE_SLOTS))
        armed, looked, adding = Signal(), Signal(), Signal()
        opcode = Signal(OPCODE_BITS, reset_less=True)
        position = Signal(range(4))
        exists, where, kind = self._find(m, opcode, index)
        issues, steps, releases, left = Signal(), Signal(), Signal(), Signal()
        front = slots[0]
        meets = Signal()
        m.d.comb += [
            left.eq(Cat(slot.enable for slot in slots).any()),
            meets.eq(armed & looked & front.enable & exists),
            issues.eq(meets & self.granule.valid & (where == position)),
            steps.eq(issues | (armed & looked & left & ~front.enable)),
            releases.eq(meets & (where != position) & ~adding),
        ]
        self._pass(m, (armed & ~releases) | self.arms | self.holds)
        with m.If(self.arms):
            m.d.sync += [
                slots.eq(self._slots()),
                armed.eq(1),
                looked.eq(self.granule.valid),
                index.eq(0),
                position.eq(0),
            ]
        with m.Elif(armed):
            m.d.sync += looked.eq(looked | self.granule.valid)
            with m.If(steps):
                m.d.sync += [
                    slots.as_value().eq(slots.as_value() >> len(front.as_value())),
                    index.eq(index + 1),
                ]
            with m.If(self.checked.valid & self.checked.ready):
                m.d.sync += position.eq(position + 1)
            with m.If((adding & ~left) | (looked & front.enable & ~exists)):
                m.d.sync += armed.eq(0)
        with m.If(~looked | ~armed):
            m.d.sync += opcode.eq(bits)
        with m.If(self.clear):
            m.d.sync += armed.eq(0)
        m.d.sync += adding.eq(issues & ~self.clear)

        register, total, kinds = self._add(m, bits, front.register, kind)
        summed_index = Signal.like(index, reset_less=True)
        m.d.sync += summed_index.eq(index)
        self._replace(m, bits, kinds, total)
        bad = self._judge(m, kinds, total, bits, opcode)
        m.d.comb += [self.replace.eq(adding), self.operand.eq(register)]
        with m.If(self.arms | self.clear):
            m.d.sync += [self.misused.eq(0), self.beyond.eq(0)]
        with m.Else():
            with m.If(armed & looked & front.enable & ~exists):
                m.d.sync += self.misused.eq(1)
            with m.If(adding & bad):
                m.d.sync += self.beyond.eq(1)
                with m.If(~self.beyond):
                    m.d.sync += self.slot.eq(summed_index)
        return m

    def _pass(self, m: Module, held) -> None:
        """Granules, to the decoder."""
        hold = Signal()
        m.d.comb += [
            hold.eq(held),
            self.checked.valid.eq(self.granule.valid & ~hold),
            self.checked.payload.eq(self.granule.payload),
            self.granule.ready.eq(self.checked.ready & ~hold),
        ]

    def _slots(self):
        """Slots of the `control.relative` that is being executed."""
        names = [name for i in range(RELATIVE_SLOTS) for name in (f"register{i}", f"enable{i}")]
        return Cat(control_field(self.control, "control.relative", name) for name in names)

    def _find(self, m: Module, opcode, index):
        """The relative field `index` of an instruction: it exists, its granule, its kind."""
        exists, where, kind = Signal(), Signal(range(4)), Signal(len(_KINDS))
        with m.Switch(opcode):
            for row in INSTRUCTIONS:
                if not row.relative_fields:
                    continue
                with m.Case(row.opcode), m.Switch(index):
                    for number, field in enumerate(row.relative_fields):
                        with m.Case(number):
                            m.d.comb += [
                                exists.eq(1),
                                where.eq(field.offset // GRANULE_BITS),
                                kind.eq(1 << _KINDS.index(_kind(field))),
                            ]
        return exists, where, kind

    def _add(self, m: Module, bits, slot_register, kind):
        """The register that was read in the cycle before, its sum, and the kind of field."""
        control = self.control
        is_add, is_loop = (control.bits[:OPCODE_BITS] == row for row in _opcodes("add", "loop"))
        adds, source, written = Signal(), Signal(4), Signal(REGISTERS)
        m.d.comb += [
            adds.eq(self.executes & is_add),
            source.eq(slot_register),
        ]
        with m.If(self.executes & is_loop):
            m.d.comb += source.eq(control_field(control, "control.loop", "register"))
        with m.Elif(adds):
            m.d.comb += source.eq(control_field(control, "control.add", "source"))
        target, value, total = Signal(4), Signal(REGISTER_BITS), Signal(REGISTER_BITS + 2)
        register, field = (
            Signal(REGISTER_BITS, reset_less=True, name=name) for name in ("register", "field")
        )
        kinds = Signal(len(_KINDS), reset_less=True)
        writes = Signal()
        m.d.comb += [
            total.eq(register.as_signed() + field),
            writes.eq(self.adds | self.reads),
            target.eq(
                Mux(
                    self.reads,
                    control_field(control, "control.read", "register"),
                    control_field(control, "control.add", "register"),
                )
            ),
            value.eq(Mux(self.reads, self.number, total)),
        ]
        held = add_lut_memory(
            m, "registers", REGISTER_BITS, REGISTERS, write=(writes, target, value), read=source
        )
        kept = Signal()
        m.d.comb += kept.eq(
            written.bit_select(source, 1) & ~(adds & control_field(control, "control.add", "zero"))
        )
        fields = [
            (kind[number], bits[low : low + width]) for number, (low, width, _) in enumerate(_KINDS)
        ]
        m.d.sync += [
            register.eq(held & kept.replicate(REGISTER_BITS)),
            kinds.eq(kind),
            field.eq(Mux(adds, control_field(control, "control.add", "value"), _gated(fields))),
        ]
        with m.If(self.clear):
            m.d.sync += written.eq(0)
        with m.Elif(writes):
            m.d.sync += written.bit_select(target, 1).eq(1)
        return register, total, kinds

    def _replace(self, m: Module, bits, kinds, total) -> None:
        """The granule with the sum in the place of its field."""
        replaced = []
        for place in range(GRANULE_BITS):
            sums = [
                (kinds[number], total[place - low])
                for number, (low, width, _) in enumerate(_KINDS)
                if low <= place < low + width
            ]
            keeps = ~Cat(bit for bit, _ in sums).any() if sums else 1
            replaced.append((bits[place] & keeps) | (_gated(sums) if sums else 0))
        m.d.comb += self.replacement.eq(Cat(replaced))

    def _judge(self, m: Module, kinds, total, bits, opcode):
        """1 if the sum does not fit its field."""
        widths = sorted({width for _, width, wraps in _KINDS if not wraps})
        beyond = [
            total[width:].any()
            & Cat(
                kinds[number]
                for number, (_, own, wraps) in enumerate(_KINDS)
                if own == width and not wraps
            ).any()
            for width in widths
        ]
        bytes8 = next(field for field in _READ.payload if field.name == "bytes8")
        odd = total[:2].any() | (total[2] & bits[bytes8.offset])
        bad = Signal()
        m.d.comb += bad.eq(Cat(beyond).any() | ((opcode == _READ.opcode) & odd))
        return bad


def _opcodes(*names: str) -> list[int]:
    return [by_mnemonic(f"{Engine.CONTROL.name.lower()}.{name}").opcode for name in names]
