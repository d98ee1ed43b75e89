"""Function table of a lane: descriptors select an entry, entries hold the cubics."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from tegula.activation.range_reduction import argument_layout
from tegula.config import TileConfig
from tegula.lib.delay import delayed, gated, registered
from tegula.memory.bank import NO_RW_CHECK

__all__ = ["FunctionTable", "function_layout", "segment_layout", "table_write_layout"]

_ENTRY_BITS = 119
_INDEX_BITS = 10
_SPECIALS = 4
"""Descriptors of +0, -0, +Inf and -Inf, in front of those of n."""


def function_layout() -> data.StructLayout:
    """A function as an instruction describes it."""
    return data.StructLayout(
        {
            "descriptor": _INDEX_BITS,
            "low": signed(10),
            "exp": 1,
            "parity": 1,
            "odd": 1,
            "log": 1,
        }
    )


def entry_layout() -> data.StructLayout:
    """An entry, as in section 5.5 of the numerics contract; of a constant, `c0` is the pattern."""
    return data.StructLayout(
        {
            "c0": signed(32),
            "c1": signed(32),
            "c2": signed(28),
            "c3": signed(18),
            "exponent": signed(9),
        }
    )


def descriptor_layout() -> data.StructLayout:
    """A descriptor, likewise."""
    return data.StructLayout({"first": _INDEX_BITS, "k": 4, "gain": 3, "constant": 1})


def segment_layout() -> data.StructLayout:
    """Segment to be evaluated: the cubic at T, scaled by ``2**exponent``, or a constant.

    `flip`: the result's sign is changed. `nan`: whatever else, the result is a NaN. `n`: is added
    times ln 2, if `log`.
    """
    return data.StructLayout(
        {
            "entry": entry_layout(),
            "fraction": 24,
            "exponent": signed(12),
            "constant": 1,
            "flip": 1,
            "nan": 1,
            "n": signed(10),
            "log": 1,
        }
    )


def table_write_layout() -> data.StructLayout:
    """A write of the table: an entry (128 bits) or a descriptor (32 bits)."""
    return data.StructLayout({"entry": 1, "index": _INDEX_BITS, "words": 128})


class FunctionTable(wiring.Component):
    """Steps 3 and 4 of section 5.5 of the numerics contract.

    Latency: `LATENCY` cycles. Throughput: one a cycle. What is written in a cycle is seen by
    arguments that come in later ones, and perhaps by those on their way.

    Parameters
    ----------
    config
        The tile: `activation_entries` entries, and as many descriptors.

    Members
    -------
    argument : In(argument_layout), function : In(function_layout)
        Where to look.
    write_en : In(1), write : In(table_write_layout)
        Load the table; indices wrap.
    segment : Out(segment_layout)
        What was found.
    """

    LATENCY = 7
    """Registers: index; descriptor and its own; shift; entry's address; entry and its own."""

    def __init__(self, config: TileConfig):
        self._config = config
        self._bits = (config.activation_entries - 1).bit_length()
        super().__init__(
            {
                "argument": In(argument_layout()),
                "function": In(function_layout()),
                "write_en": In(1),
                "write": In(table_write_layout()),
                "segment": Out(segment_layout()),
            }
        )

    def elaborate(self, platform):
        """Index, descriptor, position in its span, entry."""
        m = Module()
        depth = self._config.activation_entries
        m.submodules.descriptors = descriptors = memory.Memory(
            shape=descriptor_layout(), depth=depth, init=[], attrs=NO_RW_CHECK
        )
        m.submodules.entries = entries = memory.Memory(
            shape=_ENTRY_BITS, depth=depth, init=[], attrs=NO_RW_CHECK
        )
        for store, selected in ((descriptors, ~self.write.entry), (entries, self.write.entry)):
            port = store.write_port()
            m.d.comb += [
                port.en.eq(self.write_en & selected),
                port.addr.eq(self.write.index),
                Value.cast(port.data).eq(self.write.words),
            ]
        read = descriptors.read_port()
        index = registered(m, self._index(m), name="index")
        m.d.comb += [read.addr.eq(index), read.en.eq(1)]
        descriptor = data.View(
            descriptor_layout(), registered(m, Value.cast(read.data), name="descriptor")
        )

        # There is no time for a decoder in front of a multiplier.
        power = registered(m, 1 << read.data.k, name="power")
        argument = self.argument
        n = delayed(m, Value.cast(argument.n), 3, name="n").as_signed()
        t = delayed(m, argument.t, 3, name="t")
        entry, fraction = self._entry_address(m, descriptor, t, power)
        gain, less = self._gain(m, descriptor, n)
        read = entries.read_port()
        m.d.comb += [read.addr.eq(entry), read.en.eq(1)]
        entry = data.View(entry_layout(), registered(m, Value.cast(read.data), name="entry"))

        segment = self.segment
        negative = argument.negative & self.function.odd
        m.d.comb += [
            segment.entry.eq(entry),
            segment.fraction.eq(delayed(m, fraction, 2, name="fraction")),
            segment.exponent.eq(
                (Cat(1, entry.exponent).as_signed() + Cat(less, gain).as_signed()) >> 1
            ),
            segment.constant.eq(delayed(m, descriptor.constant, 4, name="constant")),
            segment.flip.eq(delayed(m, negative, self.LATENCY, name="flip")),
            segment.nan.eq(delayed(m, argument.nan, self.LATENCY, name="nan")),
            segment.n.eq(delayed(m, Value.cast(n), 4, name="n_late").as_signed()),
            segment.log.eq(delayed(m, self.function.log, self.LATENCY, name="log")),
        ]
        return m

    def _index(self, m: Module) -> Value:
        """Descriptor of the argument.

        What it is in each case is ready when it is known where n lies; the sum with n comes out of
        two additions without a choice between them.
        """
        argument, function = self.argument, self.function
        negative = argument.negative & ~function.odd
        special = argument.zero | argument.infinite
        beyond = Signal(signed(11))
        first = Signal(range(32 + _SPECIALS + 1))
        below, above, within, index = (
            Signal(self._bits, name=name) for name in ("below", "above", "within", "index")
        )
        m.d.comb += [
            first.eq(Mux(negative & ~function.exp, 32 + _SPECIALS, _SPECIALS)),
            beyond.eq(argument.n - function.low),
            below.eq(
                function.descriptor
                + Mux(
                    special,
                    Cat(negative, argument.infinite),
                    first | (function.parity & argument.n[0]),
                )
            ),
            above.eq(function.descriptor + (first + Mux(function.exp, 63, 31))),
            within.eq((argument.n + first) + (function.descriptor - function.low)),
        ]
        # Past the last descriptor, the 32nd or with `exp` the 64th.
        over = beyond[6:].any() | (beyond[5] & ~function.exp)
        with m.If(special | function.parity | (beyond < 0)):
            m.d.comb += index.eq(below)
        with m.Elif(over):
            m.d.comb += index.eq(above)
        with m.Else():
            m.d.comb += index.eq(within)
        return index

    def _gain(self, m: Module, descriptor: data.View, n: Value) -> tuple[Value, Value]:
        """What n adds to the exponent, as the entry comes: the sum of a number and a bit."""
        halves = (descriptor.gain == 3) | (descriptor.gain == 4)
        less = (descriptor.gain == 2) | (descriptor.gain == 4)
        some = (descriptor.gain == 1) | less | halves
        gain = Mux(halves, n >> 1, n)[: len(n)] ^ less.replicate(len(n))
        gain = gated(m, gain, some, name="gain_0")
        less = registered(m, less, name="less")
        return delayed(m, gain, 3, name="gain"), delayed(m, less, 3, name="less")

    def _entry_address(
        self, m: Module, descriptor: data.View, t: Value, power: Value
    ) -> tuple[Value, Value]:
        """Index of the entry and position in its segment, two cycles later.

        Multipliers by `power`, ``2**k``, shift the halves of t: what leaves at the top selects an
        entry.
        """
        lower = registered(m, t[:16] * power, name="lower")
        upper = gated(m, t[16:] * power, ~descriptor.constant, name="upper")
        first = registered(m, descriptor.first, name="first")
        entry = registered(m, (first + upper[16:])[: self._bits], name="entry")
        return entry, registered(m, Cat(lower[8:16], lower[16:] | upper[:16]), name="part")
