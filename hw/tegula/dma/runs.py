"""Runs of DMA descriptors, each checked before it is output."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tegula.bus.axi import WindowSignature
from tegula.config import TileConfig
from tegula.dma.layouts import ACCUMULATE_BITS, ItemKind, run_layout
from tegula.engine.interface import assign_update, instruction_layout, payload_layout, ticket_layout
from tegula.isa.instructions import MEMORY_ADDRESS_BITS, Engine
from tegula.isa.operations import Accumulate
from tegula.isa.traps import CAUSE_BITS, Trap

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
    cycle between instructions. An instruction is taken from `instr` with its last run.

    Parameters
    ----------
    config : TileConfig
    engine : Engine
        LOAD or STORE.

    Members
    -------
    instr : In(stream of `instruction_layout(engine)`)
        Held until its last run, so that its strides need no registers of their own.
    window : In(WindowSignature)
        Bytes that may be accessed. Bytes that `axi_addr_width` cannot express are
        never inside.
    tickets : Out(stream of `ticket_layout(config, "pc", "signal")`)
        One for each instruction, when it is begun.
    runs : Out(stream of `run_layout`)
    trap_cause : Out(CAUSE_BITS), trap_address : Out(MEMORY_ADDRESS_BITS)
        Of the item of kind TRAP; valid from the cycle after it was taken.
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
        fields = data.View(payload_layout("load.dma"), self.instr.payload.payload)

        advance = Signal()
        """All stages move together."""
        trapped = Signal()
        active = Signal()
        begin = Signal()
        step = Signal()
        extents_valid, checked_valid = Signal(), Signal()
        m.d.comb += [
            advance.eq((~checked_valid | self.runs.ready) & ~trapped),
            begin.eq(self.instr.valid & self.tickets.ready & advance & ~active),
            step.eq(active & advance),
            self.tickets.valid.eq(self.instr.valid & advance & ~active),
            self.tickets.payload.pc.eq(self.instr.payload.pc),
            self.tickets.payload.signal.eq(self.instr.payload.signal),
            *assign_update(self.tickets.payload.update, self.instr.payload),
            self.empty.eq(~(active | extents_valid | checked_valid)),
        ]

        ends = self._count_runs(m, fields, begin, step)
        sync = self.instr.payload.op == 0
        last = Signal()
        m.d.comb += [
            last.eq(sync | (ends[0] & ends[1] & ends[2])),
            self.instr.ready.eq(step & last),
        ]
        with m.If(begin):
            m.d.sync += active.eq(1)
        with m.Elif(step & last):
            m.d.sync += active.eq(0)

        def strided(name, shape, start, prefix):
            strides = [fields[f"{prefix}{axis}"] for axis in (1, 2, 3)]
            return self._add_strides(m, name, shape, start, strides, ends, begin, step)

        partition_start = Mux(fields.layout, 0, fields.partition)
        address = strided("mem", _MEMORY_SHAPE, fields.mem_addr, "mem_stride")
        sbuf = strided("sbuf", signed(_SBUF_BITS), fields.sbuf_addr, "sbuf_stride")
        partition = strided("partition", _PARTITION_BITS, partition_start, "partition_stride")
        row_span = self._multiply_span(m, fields, begin, advance)

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
                    "layout": 1,
                    "accumulate": ACCUMULATE_BITS,
                    "sbuf_stride0": 16,
                }
            )
        )
        elements_m1 = fields.run - 1
        bytes_m1 = Mux(fields.bytes1, elements_m1[:16], Cat(Const(1, 1), elements_m1[:16]))
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
                extents.layout.eq(fields.layout),
                extents.accumulate.eq(fields.accumulate),
                extents.sbuf_stride0.eq(fields.sbuf_stride0),
            ]
        self._check(m, extents, extents_valid, checked_valid, row_span, advance, trapped)
        return m

    def _count_runs(self, m, fields, begin, step):
        """Down-counters of the runs of each axis; `ends[a]`: axis a + 1 is at its end."""
        ends = []
        carry = step
        for axis in (1, 2, 3):
            count = fields[f"count{axis}"]
            left = Signal(16, name=f"left{axis}")
            end = Signal(name=f"end{axis}")
            with m.If(begin | (carry & end)):
                m.d.sync += [left.eq(count), end.eq(count == 1)]
            with m.Elif(carry):
                m.d.sync += [left.eq(left - 1), end.eq(left == 2)]
            ends.append(end)
            carry = carry & end
        return ends

    def _add_strides(self, m, name, shape, start, strides, ends, begin, step):
        """Start addresses of runs: a stride is added for the axis that advances, by one adder."""
        at = [Signal(shape, name=f"{name}_at{axis}") for axis in (1, 2, 3)]
        moved = Signal(shape, name=f"{name}_moved")
        inner, middle = ends[0], ends[1]
        base = Mux(inner, Mux(middle, at[2], at[1]), at[0])
        stride = Mux(inner, Mux(middle, strides[2], strides[1]), strides[0])
        m.d.comb += moved.eq(base + stride)
        with m.If(begin):
            m.d.sync += [position.eq(start) for position in at]
        with m.Elif(step):
            m.d.sync += at[0].eq(moved)
            with m.If(inner):
                m.d.sync += at[1].eq(moved)
            with m.If(inner & middle):
                m.d.sync += at[2].eq(moved)
        return at[0]

    def _multiply_span(self, m, fields, begin, advance):
        """Distance to the last address of a run in layout `partition`, two cycles after `begin`.

        An instruction's runs share it. Its registers are free for the next instruction when that
        begins: the last run of the one before is then at its checks, or past them.
        """
        partition_bits = exact_log2(self._config.n)
        steps, stride = Signal(16 - partition_bits), Signal(signed(16))
        elements_m1 = Signal(16)
        span = Signal(signed(len(steps) + 16))
        m.d.comb += elements_m1.eq(fields.run - 1)
        with m.If(begin):
            m.d.sync += [steps.eq(elements_m1 >> partition_bits), stride.eq(fields.sbuf_stride0)]
        with m.If(advance):
            m.d.sync += span.eq(steps * stride)
        return span

    def _check(self, m, extents, extents_valid, checked_valid, row_span, advance, trapped):
        """Checks of the first and last addresses of each run; the trap of the first bad one."""
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
        checked = Signal.like(extents)
        bad_window, bad_range, bad_line, bad_memory = (
            Signal(name=f"bad_{what}") for what in ("window", "range", "line", "memory")
        )
        with m.If(advance):
            m.d.sync += [
                checked_valid.eq(extents_valid),
                checked.eq(extents),
                bad_window.eq(
                    (extents.addr < self.window.base)
                    | (extents.mem_end > self.window.last)
                    | (extents.mem_end >> config.axi_addr_width).any()
                ),
                bad_range.eq(
                    (extents.partition >= config.n)
                    | (extents.sbuf_addr >> address_bits).any()
                    | (sbuf_end >> address_bits).any()
                    | span_huge
                ),
                bad_line.eq(~extents.layout & (off_line | halves)),
            ]
            if self._engine == Engine.STORE:
                m.d.sync += bad_memory.eq(
                    ((extents.accumulate != Accumulate.NONE) & extents.addr[0])
                    | ((extents.accumulate == Accumulate.FP32) & extents.addr[1])
                )

        bad = Signal()
        run = self.runs.payload
        m.d.comb += [
            bad.eq((bad_window | bad_range | bad_line | bad_memory) & ~checked.sync),
            self.runs.valid.eq(checked_valid & ~trapped),
            run.kind.eq(Mux(checked.sync, ItemKind.SYNC, Mux(bad, ItemKind.TRAP, ItemKind.RUN))),
            *(run[name].eq(checked[name]) for name in run.shape().members if name != "kind"),
        ]
        with m.If(self.runs.valid & self.runs.ready & bad):
            m.d.sync += trapped.eq(1)
            with m.If(bad_window):
                m.d.sync += [
                    self.trap_cause.eq(Trap.MEMORY_WINDOW),
                    self.trap_address.eq(checked.addr),
                ]
            with m.Elif(bad_range | bad_line):
                m.d.sync += [
                    self.trap_cause.eq(Mux(bad_range, Trap.SBUF_RANGE, Trap.SBUF_ALIGNMENT)),
                    self.trap_address.eq(checked.sbuf_addr.as_unsigned()),
                ]
            with m.Else():
                m.d.sync += [
                    self.trap_cause.eq(Trap.MEMORY_ALIGNMENT),
                    self.trap_address.eq(checked.addr),
                ]
