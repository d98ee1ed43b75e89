"""Runs of DMA descriptors, each checked before it is output."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tegula.bus.axi import WindowSignature
from tegula.config import TileConfig
from tegula.dma.layouts import ACCUMULATE_BITS, ItemKind, half_fields, run_layout
from tegula.dma.strides import add_strides, choose_base, count_runs
from tegula.engine.interface import assign_update, instruction_layout, payload_layout, ticket_layout
from tegula.isa.instructions import MEMORY_ADDRESS_BITS, Engine
from tegula.isa.operations import Accumulate
from tegula.isa.traps import CAUSE_BITS, Trap
from tegula.lib.fields import copy_fields
from tegula.lib.mux import prioritised
from tegula.lib.stream import StreamBuffer

__all__ = ["RunGenerator"]

_MEMORY_SHAPE = signed(50)
"""A byte address one step (2**31) or one run (2**17) away from a checked 48-bit one, with sign."""

_SBUF_BITS = 20
"""A scratchpad address one step and one span away from a checked one, with sign."""

_PARTITION_BITS = 7
"""A partition below 32 plus a step of at most 32."""

_SPAN_BITS = 19
"""Distance from the first to the last scratchpad address of a run; a longer one is out of range."""


class RunGenerator(wiring.Component):
    """Runs of descriptors: (i1, i2, i3) starts at `mem_addr + sum i_a * mem_stride_a`, i1 fastest.

    The scratchpad address and the partition advance likewise. Each run is checked for the memory
    window, then the scratchpad's range, then alignment there and, where a store adds to it, in
    memory; the first run that fails becomes an item of kind TRAP, and nothing follows it until
    reset. Every position is one step away from a checked one, which bounds the widths. A `sync`
    instruction becomes one item of kind SYNC.

    Latency from `instr.valid` to `runs.valid` is `LATENCY` cycles; then one run a cycle, and one
    cycle between instructions. While none is in work, what `instr` offers is copied into a
    register, and its counters and addresses are set, in every cycle: it is taken as they are.

    A reset ends all work. Only the flags of what is valid are reset, and neither addresses nor
    counters.

    Parameters
    ----------
    config : TileConfig
    engine : Engine
        LOAD or STORE.

    Members
    -------
    instr : In(stream of `instruction_layout(engine)`)
        `ready` depends on registers alone: no instruction is in work, and a ticket has room.
    window : In(WindowSignature)
        Bytes that may be accessed. Bytes that `axi_addr_width` cannot express are
        never inside.
    tickets : Out(stream of `ticket_layout(config, "pc", "signal")`)
        One for each instruction, when it is begun.
    runs : Out(stream of `run_layout`)
    trap_cause : Out(CAUSE_BITS), trap_address : Out(MEMORY_ADDRESS_BITS)
        Of the item of kind TRAP; valid from when that is offered until the reset.
    empty : Out(1)
        No instruction is in work, and no run waits.
    """

    LATENCY = 3
    """Cycles: set-up, last addresses, checks."""

    def __init__(self, config: TileConfig, engine: Engine):
        self._config = config
        self._engine = engine
        super().__init__(
            {
                "instr": In(stream.Signature(instruction_layout(engine))),
                "window": In(WindowSignature()),
                "tickets": Out(stream.Signature(ticket_layout(config, "pc", "signal"))),
                "runs": Out(stream.Signature(run_layout(config))),
                "trap_cause": Out(CAUSE_BITS),
                "trap_address": Out(MEMORY_ADDRESS_BITS),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform):
        """Counters and addresses, last addresses, checks."""
        m = Module()
        offered = data.View(payload_layout("load.dma"), self.instr.payload.payload)
        held = Signal(instruction_layout(self._engine), reset_less=True)
        fields = data.View(payload_layout("load.dma"), held.payload)

        advance = Signal()
        """The stages move, all together: a register, for it enables all of them."""
        active, resting = Signal(), Signal(init=1)
        """An instruction is in work; none is, in a register of its own, for it enables many."""
        begin = Signal()
        step = Signal()
        extents_valid = Signal()
        m.d.comb += [
            self.instr.ready.eq(~active & self.tickets.ready),
            begin.eq(self.instr.valid & self.instr.ready),
            step.eq(active & advance),
            self.tickets.valid.eq(self.instr.valid & ~active),
            self.tickets.payload.pc.eq(self.instr.payload.pc),
            self.tickets.payload.signal.eq(self.instr.payload.signal),
            *assign_update(self.tickets.payload.update, self.instr.payload),
        ]
        with m.If(resting):
            m.d.sync += held.eq(self.instr.payload)

        ends, behind = count_runs(m, offered, fields, resting, advance)
        sync = held.op == 0
        last = Signal()
        m.d.comb += last.eq(sync | (ends[0] & ends[1] & ends[2]))
        with m.If(begin):
            m.d.sync += [active.eq(1), resting.eq(0)]
        with m.Elif(step & last):
            m.d.sync += [active.eq(0), resting.eq(1)]

        base = choose_base(m, ends, behind, resting, advance)

        def strided(name, shape, start, prefix):
            strides = [fields[f"{prefix}{axis}"] for axis in (1, 2, 3)]
            return add_strides(m, name, shape, start, strides, ends, base)

        partition_start = Mux(offered.layout, 0, offered.partition)
        address = strided("mem", _MEMORY_SHAPE, offered.mem_addr, "mem_stride")
        sbuf = strided("sbuf", signed(_SBUF_BITS), offered.sbuf_addr, "sbuf_stride")
        partition = strided("partition", _PARTITION_BITS, partition_start, "partition_stride")
        elements_m1 = Signal(16, reset_less=True)
        with m.If(resting):
            m.d.sync += elements_m1.eq(offered.run - 1)
        row_span = self._multiply_span(m, fields, elements_m1, advance)

        extents = Signal(
            data.StructLayout(
                {
                    "sync": 1,
                    "last": 1,
                    "addr": _MEMORY_SHAPE,
                    "mem_end": _MEMORY_SHAPE,
                    "sbuf_addr": signed(_SBUF_BITS),
                    "partition": _PARTITION_BITS,
                    "elements_m1": 16,
                    "bytes1": 1,
                    **half_fields(self._config),
                    "layout": 1,
                    "accumulate": ACCUMULATE_BITS,
                    "sbuf_stride0": 16,
                }
            ),
            reset_less=True,
        )
        bytes_m1 = Mux(fields.bytes1, elements_m1, Cat(Const(1, 1), elements_m1))
        with m.If(advance):
            m.d.sync += [
                extents_valid.eq(active),
                extents.sync.eq(sync),
                extents.last.eq(last),
                extents.addr.eq(address),
                extents.mem_end.eq(address + bytes_m1),
                extents.sbuf_addr.eq(sbuf),
                extents.partition.eq(Mux(fields.layout, 0, partition)),
                extents.elements_m1.eq(elements_m1),
                extents.bytes1.eq(fields.bytes1),
                *copy_fields(extents, fields, half_fields(self._config)),
                extents.layout.eq(fields.layout),
                extents.accumulate.eq(fields.accumulate),
                extents.sbuf_stride0.eq(fields.sbuf_stride0),
            ]
        m.submodules.checked = checked = StreamBuffer(self._checked_layout())
        m.d.comb += [
            advance.eq(checked.i.ready),
            checked.i.valid.eq(extents_valid),
            self.empty.eq(~(active | extents_valid) & checked.empty),
        ]
        self._check(m, extents, row_span, checked.i.payload)
        self._output(m, checked.o)
        return m

    def _multiply_span(self, m, fields, elements_m1, advance):
        """Distance to the last address of a run in layout `partition`, with its last addresses.

        An instruction's runs share it. It is computed for the next instruction when the last run of
        the one before leaves the stage that needs it.
        """
        partition_bits = exact_log2(self._config.n)
        steps, stride = elements_m1[partition_bits:], fields.sbuf_stride0
        span = Signal(signed(len(steps) + 16), reset_less=True)
        with m.If(advance):
            m.d.sync += span.eq(steps * stride)
        return span

    def _checked_layout(self) -> data.StructLayout:
        """A run, and which checks it failed; of what is in range, the bits that it needs."""
        fields = dict(run_layout(self._config).members)
        kind = {"sync": 1, **{f"bad_{what}": 1 for what in ("window", "range", "line", "memory")}}
        if self._engine != Engine.STORE:
            del kind["bad_memory"]
        del fields["kind"]
        wide = {"addr": MEMORY_ADDRESS_BITS, "sbuf_addr": _SBUF_BITS}
        return data.StructLayout(kind | fields | wide)

    def _check(self, m, extents, row_span, checked):
        """Checks of the first and last addresses of a run."""
        config = self._config
        address_bits = exact_log2(config.sbuf_depth)
        span, sbuf_end = Signal(signed(_SPAN_BITS)), Signal(signed(_SBUF_BITS))
        span_huge = extents.layout & (row_span != row_span[:_SPAN_BITS].as_signed())
        m.d.comb += [
            span.eq(Mux(extents.layout, row_span, extents.elements_m1)),
            sbuf_end.eq(extents.sbuf_addr + span),
        ]

        halves = (extents.accumulate == Accumulate.FP32) & ~extents.elements_m1[0]
        off_line = extents.sbuf_addr[: exact_log2(config.bus_words)].any()
        flags = {"bad_window", "bad_range", "bad_line", "bad_memory"}
        m.d.comb += [
            *(
                checked[name].eq(extents[name].as_unsigned())
                if name in ("addr", "sbuf_addr")
                else checked[name].eq(extents[name])
                for name in checked.shape().members
                if name not in flags
            ),
            # What is negative, or has more bits than an address, is found without a comparison.
            checked.bad_window.eq(
                extents.addr[MEMORY_ADDRESS_BITS:].any()
                | (extents.mem_end >> config.axi_addr_width).any()
                | (extents.addr[:MEMORY_ADDRESS_BITS] < self.window.base)
                | (extents.mem_end[:MEMORY_ADDRESS_BITS] > self.window.last)
            ),
            checked.bad_range.eq(
                (extents.partition >= config.n)
                | (extents.sbuf_addr >> address_bits).any()
                | (sbuf_end >> address_bits).any()
                | span_huge
            ),
            checked.bad_line.eq(~extents.layout & (off_line | halves)),
        ]
        if self._engine == Engine.STORE:
            m.d.comb += checked.bad_memory.eq(
                ((extents.accumulate != Accumulate.NONE) & extents.addr[0])
                | ((extents.accumulate == Accumulate.FP32) & extents.addr[1])
            )

    def _output(self, m, checked):
        """Runs; a bad one is output as a trap, and kept: nothing follows it."""
        item, run = checked.payload, self.runs.payload
        bad, trapped = Signal(), Signal()
        bad_memory = item.bad_memory if self._engine == Engine.STORE else Const(0)
        m.d.comb += [
            bad.eq((item.bad_window | item.bad_range | item.bad_line | bad_memory) & ~item.sync),
            self.runs.valid.eq(checked.valid & ~trapped),
            checked.ready.eq(self.runs.ready & ~bad),
            run.kind.eq(Mux(item.sync, ItemKind.SYNC, Mux(bad, ItemKind.TRAP, ItemKind.RUN))),
            *(run[name].eq(item[name]) for name in run.shape().members if name != "kind"),
        ]
        with m.If(self.runs.valid & self.runs.ready & bad):
            m.d.sync += trapped.eq(1)
        at_sbuf = ~item.bad_window & (item.bad_range | item.bad_line)
        m.d.comb += [
            self.trap_address.eq(Mux(at_sbuf, item.sbuf_addr, item.addr)),
            self.trap_cause.eq(
                prioritised(
                    (
                        (item.bad_window, Trap.MEMORY_WINDOW),
                        (item.bad_range, Trap.SBUF_RANGE),
                        (item.bad_line, Trap.SBUF_ALIGNMENT),
                    ),
                    Const(Trap.MEMORY_ALIGNMENT, CAUSE_BITS),
                )
            ),
        ]
