"""The processing element: four rows of one column, a fused four-term dot product step."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.lib.delay import delayed
from tegula.tensor.align import (
    COARSE_BITS,
    FINE_BITS,
    SHIFT_BITS,
    coarse_amount,
    saturated,
    shifted_down,
)

__all__ = [
    "EXPONENT_CYCLE",
    "FLAGS_CYCLE",
    "LANES",
    "LEAST_CYCLE",
    "OUTPUT_CYCLES",
    "SIGNIFICAND_CYCLE",
    "TAIL_CYCLES",
    "ProcessingElement",
    "head_layout",
    "tail_layout",
]

LANES = 4
"""Products that a PE adds at once: the groups of four of the numerics contract."""

head_layout = data.StructLayout({"exp": 8, "live": 1})
"""Half of an operand that is needed first: exponent, and whether it is finite and not zero."""

tail_layout = data.StructLayout({"sig": signed(9), "special": 1, "zero": 1})
"""Half that is needed `TAIL_CYCLES` later: see `tensor.operand.operand_layout`."""

TAIL_CYCLES = 3
"""Cycles by which the tail of an operand follows its head (so that products need no register)."""

EXPONENT_CYCLE = 3
"""Cycle in which `exponent_in` is used; 0 is the one in which the head is at the PE's input."""

LEAST_CYCLE = 2
"""The same for `least_in`."""

FLAGS_CYCLE = 5
"""The same for `flags_in`."""

SIGNIFICAND_CYCLE = 7
"""The same for `significand_in`."""

OUTPUT_CYCLES = 3
"""Cycles from each of the partial sum's inputs to its output, hence the skew from PE to PE
below."""

_PRODUCT_BITS = 17


class ProcessingElement(wiring.Component):
    """Sum of four products and a passing partial sum: contract section 3, one group step.

    ``E' = max(E, q_i)``, ``m' = (m >> (E' - E)) + sum_i((P_i << G) >> (E' - q_i))``, where
    ``P_i = stationary_i * moving_i`` and ``q_i`` the sum of their exponents; products that are
    zero or not finite do not take part, the latter set sticky flags instead. Every shift rounds
    down.

    One group a cycle, no flow control: each input has a fixed cycle (see the constants), counted
    from the one in which the moving head is at the input. A partial sum takes `OUTPUT_CYCLES`;
    moving operands reach the next column after one. The exponent chain runs ahead of the
    significand chain, so that alignment is over when the significand arrives.

    Parameters
    ----------
    config
        The tile; only `acc_width` matters.
    raises
        Whether the anchor is at least `least_in`: in the first PE of a column whose operands may be
        packed (section 3.10).

    Members
    -------
    head_in : In(ArrayLayout(head_layout, 4)), head_out : Out(ArrayLayout(head_layout, 4))
        Moving exponents, and the same a cycle later.
    tail_in : In(ArrayLayout(tail_layout, 4)), tail_out : Out(ArrayLayout(tail_layout, 4))
        Moving significands, `TAIL_CYCLES` after their heads.
    swap_head_in, swap_tail_in : In(1), swap_head_out, swap_tail_out : Out(1)
        With the head (tail) of a moving vector: it and later ones are multiplied by the operand in
        the shift chain.
    shift_head, shift_tail : In(1)
        The chain of stationary heads (tails) takes what is at its input.
    stationary_head_in : In(ArrayLayout(head_layout, 4))
    stationary_tail_in : In(ArrayLayout(tail_layout, 4))
    stationary_head_out : Out(ArrayLayout(head_layout, 4))
    stationary_tail_out : Out(ArrayLayout(tail_layout, 4))
        The chain, four operands wide; the outputs are registers.
    exponent_in : In(9), exponent_out : Out(9)
        Anchor of the partial sum, 0 where it has none; undefined where a flag is set.
    least_in : In(9)
        The least anchor of the group, in cycle `LEAST_CYCLE`; only with `raises`.
    flags_in : In(2), flags_out : Out(2)
        Sticky: bit 0 a +Inf has been added, bit 1 a -Inf; both: NaN.
    significand_in : In(signed(acc_width)), significand_out : Out(signed(acc_width))
        The partial sum's significand; undefined where a flag is set.
    """

    def __init__(self, config: TileConfig, *, raises: bool = False):
        self._raises = raises
        self._acc_width = config.acc_width
        self._guard_bits = config.guard_bits
        heads = data.ArrayLayout(head_layout, LANES)
        tails = data.ArrayLayout(tail_layout, LANES)
        super().__init__(
            {
                "head_in": In(heads),
                "head_out": Out(heads),
                "tail_in": In(tails),
                "tail_out": Out(tails),
                "swap_head_in": In(1),
                "swap_head_out": Out(1),
                "swap_tail_in": In(1),
                "swap_tail_out": Out(1),
                "shift_head": In(1),
                "shift_tail": In(1),
                "stationary_head_in": In(heads),
                "stationary_head_out": Out(heads),
                "stationary_tail_in": In(tails),
                "stationary_tail_out": Out(tails),
                "exponent_in": In(9),
                **({"least_in": In(9)} if raises else {}),
                "exponent_out": Out(9),
                "flags_in": In(2),
                "flags_out": Out(2),
                "significand_in": In(signed(config.acc_width)),
                "significand_out": Out(signed(config.acc_width)),
            }
        )

    def elaborate(self, platform):
        """Exponents, alignment, sum."""
        m = Module()
        heads, tails = self._hold_operands(m)
        exponents, anchor, entered = self._find_anchor(m, heads)
        shifts, sum_shift = self._find_shifts(m, exponents, anchor, entered)
        products, flags = self._multiply(m, tails)
        self._merge_flags(m, flags)
        total = self._align_and_add(m, products, shifts)
        self._add_to_sum(m, total, sum_shift)
        return m

    def _hold_operands(self, m):
        """Registers of the moving operands, and swap of the stationary ones (cycle 0 to 1)."""
        halves = []
        for name in ("head", "tail"):
            moving, shift, swap = (
                getattr(self, port) for port in (f"{name}_in", f"shift_{name}", f"swap_{name}_in")
            )
            chain = Signal.like(moving, name=f"chain_{name}", reset_less=True)
            stationary = Signal.like(moving, name=f"stationary_{name}", reset_less=True)
            held = Signal.like(moving, name=f"moving_{name}", reset_less=True)
            with m.If(shift):
                m.d.sync += chain.eq(getattr(self, f"stationary_{name}_in"))
            with m.If(swap):
                m.d.sync += stationary.eq(chain)
            m.d.sync += [held.eq(moving), getattr(self, f"swap_{name}_out").eq(swap)]
            m.d.comb += [
                getattr(self, f"stationary_{name}_out").eq(chain),
                getattr(self, f"{name}_out").eq(held),
            ]
            halves.append((held, stationary))
        return halves

    def _find_anchor(self, m, heads):
        """Product exponents and the new anchor: cycles 1 to 4."""
        moving, stationary = heads
        products = []
        for lane in range(LANES):
            exponent = Signal(9, name=f"exponent_{lane}", reset_less=True)
            m.d.sync += exponent.eq(
                Mux(
                    moving[lane].live & stationary[lane].live,
                    moving[lane].exp + stationary[lane].exp,
                    0,
                )
            )
            products.append(exponent)
        pairs = []
        for pair in range(LANES // 2):
            first, second = products[2 * pair : 2 * pair + 2]
            larger = Signal(9, name=f"larger_{pair}", reset_less=True)
            of_pair = Signal(9, name=f"of_pair_{pair}")
            m.d.comb += of_pair.eq(Mux(first > second, first, second))
            if self._raises and pair == 0:
                m.d.sync += larger.eq(Mux(of_pair > self.least_in, of_pair, self.least_in))
            else:
                m.d.sync += larger.eq(of_pair)
            pairs.append(larger)
        # The last two comparisons share a cycle: the pair of pairs, then the passing sum.
        largest = Signal(9)
        m.d.comb += largest.eq(Mux(pairs[0] > pairs[1], *pairs))
        anchor, entered = Signal(9, reset_less=True), Signal(9, reset_less=True)
        m.d.sync += [
            anchor.eq(Mux(largest > self.exponent_in, largest, self.exponent_in)),
            entered.eq(self.exponent_in),
        ]
        m.d.comb += self.exponent_out.eq(delayed(m, anchor, OUTPUT_CYCLES - 1, name="anchor"))
        aligned = [
            delayed(m, exponent, 2, name=f"held_exponent_{lane}")
            for lane, exponent in enumerate(products)
        ]
        return aligned, anchor, entered

    def _find_shifts(self, m, exponents, anchor, entered):
        """Distances to the anchor, saturated at 63 (all sign): cycle 4 to 5."""
        shifts = []
        for lane, exponent in enumerate([*exponents, entered]):
            distance = Signal(9, name=f"distance_{lane}")
            shift = Signal(SHIFT_BITS, name=f"shift_{lane}", reset_less=True)
            m.d.comb += distance.eq(anchor - exponent)
            m.d.sync += shift.eq(saturated(distance))
            shifts.append(shift)
        return shifts[:LANES], shifts[LANES]

    def _multiply(self, m, tails):
        """Exact signed products and the flags of the special ones: cycle 4 to 5."""
        moving, stationary = tails
        products, positive, negative = [], [], []
        for lane in range(LANES):
            x, w = moving[lane], stationary[lane]
            product = Signal(signed(_PRODUCT_BITS), name=f"product_{lane}", reset_less=True)
            m.d.sync += product.eq(x.sig * w.sig)
            products.append(product)
            special, zero = x.special | w.special, x.zero | w.zero
            sign = x.sig[-1] ^ w.sig[-1]
            positive.append(special & (zero | ~sign))
            negative.append(special & (zero | sign))
        flags = Signal(2)
        m.d.sync += flags.eq(Cat(Cat(positive).any(), Cat(negative).any()))
        return products, flags

    def _merge_flags(self, m, flags):
        """Sticky flags: cycle 5 to 6, then as late as the partial sum's other parts."""
        merged = Signal(2)
        m.d.sync += merged.eq(flags | self.flags_in)
        m.d.comb += self.flags_out.eq(delayed(m, merged, OUTPUT_CYCLES - 1, name="merged"))

    def _align_and_add(self, m, products, shifts):
        """Fine, then coarse shift of each product down its field, and their sum: cycle 5 to 9."""
        guard = self._guard_bits
        # Two floors in a row are one floor, so the fine shift may drop bits where W leaves it no
        # room.
        fine_room = min((1 << FINE_BITS) - 1, guard)
        aligned = []
        for lane in range(LANES):
            fine = Signal(signed(_PRODUCT_BITS + fine_room), name=f"fine_{lane}", reset_less=True)
            coarse_shift = Signal(COARSE_BITS, name=f"coarse_shift_{lane}", reset_less=True)
            coarse = Signal(signed(_PRODUCT_BITS + guard), name=f"coarse_{lane}", reset_less=True)
            widened = Cat(Const(0, fine_room), products[lane]).as_signed()
            m.d.sync += [
                fine.eq(widened >> shifts[lane][:FINE_BITS]),
                coarse_shift.eq(shifts[lane][FINE_BITS:]),
            ]
            wide = Cat(Const(0, guard - fine_room), fine).as_signed()
            m.d.sync += coarse.eq(wide >> coarse_amount(coarse_shift))
            aligned.append(coarse)
        sums = []
        for pair in range(LANES // 2):
            total = Signal(
                signed(_PRODUCT_BITS + guard + 1), name=f"pair_sum_{pair}", reset_less=True
            )
            m.d.sync += total.eq(aligned[2 * pair] + aligned[2 * pair + 1])
            sums.append(total)
        total = Signal(signed(_PRODUCT_BITS + guard + 2), reset_less=True)
        m.d.sync += total.eq(sums[0] + sums[1])
        return total

    def _add_to_sum(self, m, total, shift):
        """Alignment of the passing significand, and its sum with the products: cycle 7 to 10."""
        width = self._acc_width
        held = delayed(m, shift, SIGNIFICAND_CYCLE - FLAGS_CYCLE, name="held_shift")
        total_out = Signal(signed(width), name="sum", reset_less=True)
        coarse = shifted_down(m, self.significand_in, held)
        m.d.sync += total_out.eq(coarse + total)
        m.d.comb += self.significand_out.eq(total_out)
