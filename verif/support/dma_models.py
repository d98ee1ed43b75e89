"""Descriptors of the DMA tests, their meaning, and peers that drive an engine.

The peers check the stream and AXI rules in every cycle: valid never drops, payloads are stable,
bursts are aligned and within bounds, no more are outstanding than the configuration says.
"""

from collections import deque
from dataclasses import dataclass, field
from random import Random

import numpy as np
from amaranth.hdl import Cat

from tegula.config import TileConfig
from tegula.formats import BF16
from tegula.isa.instructions import MEMORY_ADDRESS_BITS, PC_BITS, Engine, Layout, by_mnemonic
from tegula.isa.operations import Accumulate
from tegula.isa.traps import Trap
from tegula_golden.numerics import fp32
from tegula_golden.numerics.cast import cast
from verif.support.compiled import compiled_model

BASE = 0x1000
"""First byte of the modelled memory."""

AXES = (1, 2, 3)


@dataclass
class Command:
    """An instruction as its queue delivers it; `fields` None is a sync."""

    fields: dict[str, int] | None = None
    pc: int = 0
    signal: tuple[int, int] | None = None


@dataclass
class Run:
    """One run of a descriptor: its elements as (memory address, partition, scratchpad address)."""

    addr: int
    size: int
    elements: list[tuple[int, int, int]]
    trap: tuple[Trap, int] | None = None
    accumulate: Accumulate = Accumulate.NONE


def split(value: int, widths: list[int]) -> list[int]:
    """Cut an integer into fields, lowest first."""
    fields = []
    for width in widths:
        fields.append(value & ((1 << width) - 1))
        value >>= width
    return fields


def pack_fields(values: dict[str, int]) -> int:
    """The payload of a `dma` instruction, by the table of fields."""
    known = {f.name: f for f in by_mnemonic("load.dma").payload}
    assert values.keys() <= known.keys()
    word = 0
    for name, row in known.items():
        value = values.get(name, row.default)
        assert row.low <= value <= row.high, (name, value)
        word |= (value & ((1 << row.width) - 1)) << (row.offset - 48)
    return word


def expand(
    config: TileConfig,
    fields: dict[str, int],
    window: tuple[int, int],
    engine: Engine = Engine.LOAD,
) -> list[Run]:
    """The runs of a descriptor in order, up to and with the first that traps."""
    get = {f.name: fields.get(f.name, f.default) for f in by_mnemonic("load.dma").payload}
    size = 1 if get["bytes1"] else 2
    runs = []
    for i3 in range(get["count3"]):
        for i2 in range(get["count2"]):
            for i1 in range(get["count1"]):

                def at(prefix, start, steps=(i1, i2, i3)):
                    return start + sum(
                        step * get[f"{prefix}{axis}"]
                        for axis, step in zip(AXES, steps, strict=True)
                    )

                addr = at("mem_stride", get["mem_addr"])
                sbuf = at("sbuf_stride", get["sbuf_addr"])
                partition = at("partition_stride", get["partition"])
                count = get["run"]
                if get["layout"] == Layout.FREE:
                    places = [(partition, sbuf + i) for i in range(count)]
                    bad = partition >= config.n
                else:
                    places = [
                        (i % config.n, sbuf + (i // config.n) * get["sbuf_stride0"])
                        for i in range(count)
                    ]
                    bad = False
                run = Run(addr, count * size, [], accumulate=Accumulate(get["accumulate"]))
                halves = run.accumulate == Accumulate.FP32 and count % 2
                ends = (places[0][1], places[-1][1])
                if not (window[0] <= addr and addr + count * size - 1 <= window[1]):
                    run.trap = (Trap.MEMORY_WINDOW, addr)
                elif bad or not all(0 <= end < config.sbuf_depth for end in ends):
                    run.trap = (Trap.SBUF_RANGE, sbuf & 0xFFFFF)
                elif get["layout"] == Layout.FREE and (sbuf % config.bus_words or halves):
                    run.trap = (Trap.SBUF_ALIGNMENT, sbuf)
                elif engine == Engine.STORE and addr % (1, 2, 4)[run.accumulate]:
                    run.trap = (Trap.MEMORY_ALIGNMENT, addr)
                else:
                    run.elements = [(addr + i * size, *place) for i, place in enumerate(places)]
                runs.append(run)
                if run.trap:
                    return runs
    return runs


def bursts_of(config: TileConfig, addr: int, size: int) -> list[tuple[int, int]]:
    """(aligned address, beats minus one) of the bursts of a run."""
    beats = range(addr // config.bus_bytes, (addr + size - 1) // config.bus_bytes + 1)
    bursts = {}
    for beat in beats:
        bursts.setdefault(beat // config.max_burst_beats, []).append(beat)
    return [(b[0] * config.bus_bytes, len(b) - 1) for b in bursts.values()]


def random_descriptor(
    rng: Random, config: TileConfig, memory_bytes: int, limit: int = 200
) -> dict[str, int]:
    """A descriptor of at most `limit` elements that stays inside memory and scratchpad."""
    while True:
        free = rng.random() < 0.5
        counts = [rng.choice((1, 1, 2, 3, 5)) for _ in AXES]
        run = rng.choice((rng.randint(1, 8), rng.randint(1, 40), rng.randint(1, limit)))
        if run * np.prod(counts) > limit:
            continue
        bytes1 = rng.randint(0, 1)
        accumulate = rng.choice((Accumulate.NONE, *Accumulate))
        if bytes1 or (accumulate == Accumulate.FP32 and (run % 2 or not free)):
            accumulate = Accumulate.NONE
        line = config.bus_words if free else 1
        span = 400
        mem = [rng.randint(-span, span) for _ in AXES]
        if accumulate:  # a store needs numbers on multiples of their size
            mem = [stride // 4 * 4 for stride in mem]
        sbuf = [rng.randint(-span // line // 4, span // line // 4) * line for _ in AXES]
        partition = [rng.randint(0, 3) if free else rng.randint(0, config.n) for _ in AXES]
        stride0 = rng.randint(-5, 5)

        def reach(strides, extra, counts=counts):
            steps = [(c - 1) * s for c, s in zip(counts, strides, strict=True)]
            low = sum(min(s, 0) for s in steps) + min(extra, 0)
            return low, sum(max(s, 0) for s in steps) + max(extra, 0)

        mem_low, mem_high = reach(mem, run * (2 - bytes1) - 1)
        sbuf_low, sbuf_high = reach(sbuf, run - 1 if free else (run - 1) // config.n * stride0)
        partition_high = reach(partition, 0)[1]
        if mem_high - mem_low >= memory_bytes or sbuf_high - sbuf_low >= config.sbuf_depth - line:
            continue
        if free and partition_high >= config.n:
            continue
        low = -(sbuf_low // line)
        high = (config.sbuf_depth - 1 - sbuf_high) // line
        fields = {
            "mem_addr": BASE + rng.randint(-mem_low, memory_bytes - 1 - mem_high),
            "run": run,
            "sbuf_addr": rng.choice((low, high, rng.randint(low, high))) * line,
            "sbuf_stride0": stride0,
            "partition": rng.randint(0, config.n - 1 - partition_high) if free else 1,
            "layout": 0 if free else 1,
            "bytes1": bytes1,
            "accumulate": accumulate,
        }
        if accumulate:
            fields["mem_addr"] = fields["mem_addr"] // 4 * 4
        for index, axis in enumerate(AXES):
            fields[f"count{axis}"] = counts[index]
            fields[f"mem_stride{axis}"] = mem[index]
            fields[f"sbuf_stride{axis}"] = sbuf[index]
            fields[f"partition_stride{axis}"] = partition[index]
        return fields


@dataclass
class Outcome:
    """Observations of a bench."""

    cycles: int = 0
    signals: list[tuple[int, int]] = field(default_factory=list)
    trap: tuple[int, int, int] | None = None
    bursts: list[tuple[int, int]] = field(default_factory=list)
    burst_cycles: list[int] = field(default_factory=list)
    beats: int = 0
    effects: int = 0
    busy: int = 0
    stall: int = 0
    progress: list[int] = field(default_factory=list)
    """Effects that were complete when each signal was taken."""


class Bench:
    """Peers of one engine: instruction queue, semaphores, trap record, memory and scratchpad.

    Subclasses say what the engine is (`engine`), and with `prepare`, `probes`, `settle` and `drive`
    how data moves.

    Parameters
    ----------
    stall
        Probability that a peer is not ready, or has nothing to say, in a cycle.
    latency
        Cycles from a request to its answer.
    bad
        Byte range [first, last] whose beats answer with `response`.
    stop_at
        Cycle in which `stop` rises of itself; it also rises after a trap.
    """

    def __init__(
        self,
        config,
        *,
        seed=0,
        stall=0.0,
        latency=4,
        memory_bytes=4096,
        window=None,
        bad=None,
        response=2,
        stop_at=None,
    ):
        self.config = config
        self.rng = Random(seed)
        self.stall = stall
        self.latency = latency
        noise = np.random.default_rng(seed)
        self.memory = noise.integers(0, 256, memory_bytes, dtype=np.uint8)
        self.sbuf = noise.integers(0, 1 << 16, (config.n, config.sbuf_depth), dtype=np.uint16)
        self.window = window or (BASE, BASE + memory_bytes - 1)
        self.bad = bad
        self.bad_reads = True
        self.response = response
        self.stop_at = stop_at
        self.outcome = Outcome()
        self.held = {}
        self._model = compiled_model(self.engine, config)
        self.dut = self._model.component
        self.prepare()

    def lucky(self) -> bool:
        """A peer acts in this cycle, at random."""
        return self.stall == 0 or self.rng.random() >= self.stall

    def is_bad(self, addr: int) -> bool:
        """The beat at `addr` fails."""
        last = addr + self.config.bus_bytes - 1
        return self.bad is not None and addr <= self.bad[1] and last >= self.bad[0]

    def is_read_bad(self, addr: int) -> bool:
        """The beat at `addr` fails when it is read by a store."""
        return self.bad_reads and self.is_bad(addr)

    def hold(self, name: str, valid: int, ready: int, payload: int) -> bool:
        """Check that an offer is never withdrawn or changed; whether it is taken."""
        if name in self.held:
            assert valid, f"{name}.valid dropped"
            assert payload == self.held[name], f"{name}.payload changed"
        self.held.pop(name, None)
        if valid and not ready:
            self.held[name] = payload
        return bool(valid and ready)

    def accept_burst(self, addr: int, length: int, outstanding: int, limit: int) -> None:
        """Check a burst against the AXI rules and the configuration."""
        size = (length + 1) * self.config.bus_bytes
        assert addr % self.config.bus_bytes == 0
        span = self.config.max_burst_beats * self.config.bus_bytes
        assert addr // span == (addr + size - 1) // span
        assert addr // 4096 == (addr + size - 1) // 4096
        assert outstanding < limit
        self.outcome.bursts.append((addr, length))
        self.outcome.burst_cycles.append(self.outcome.cycles)

    def run(self, commands: list[Command], *, budget: int, gap: int = 3) -> Outcome:
        """Run the commands until the engine is idle and all peers are; return what was seen.

        Raises
        ------
        AssertionError
            If a rule is broken, or the engine is not idle after `budget` cycles.
        """
        self._model.run(lambda ctx: self._run(ctx, commands, budget, gap))
        return self.outcome

    async def _run(self, ctx, commands, budget, gap):
        dut, engine = self.dut, self.dut.engine
        ctx.set(dut.window.base, self.window[0])
        ctx.set(dut.window.last, self.window[1])
        queue = deque(commands)
        offered = ready = stop = quiet_cycles = 0
        probes = [
            engine.instr.ready,
            Cat(engine.signals[0].valid, engine.signals[0].payload),
            Cat(engine.trap_valid, engine.trap),
            Cat(engine.idle, engine.busy, engine.stall),
            *self.probes(),
        ]
        while True:
            self.drive(ctx)
            if not offered and queue and not stop and self.lucky():
                command = queue[0]
                item = engine.instr.payload
                ctx.set(item.pc, command.pc)
                ctx.set(item.op, 0 if command.fields is None else 1)
                ctx.set(item.signal, command.signal is not None)
                ctx.set(item.signal_sem, command.signal[0] if command.signal else 0)
                ctx.set(item.signal_value, command.signal[1] if command.signal else 0)
                ctx.set(item.payload, pack_fields(command.fields) if command.fields else 0)
                offered = 1
            ctx.set(engine.instr.valid, offered)
            ready = int(self.lucky())
            ctx.set(engine.signals[0].ready, ready)
            ctx.set(engine.stop, stop)
            _, _, taken, signal, trapped, state, *rest = await ctx.tick().sample(*probes)
            outcome = self.outcome
            idle, busy, stalled = state & 1, state >> 1 & 1, state >> 2 & 1
            outcome.cycles += 1
            outcome.busy += busy
            outcome.stall += stalled
            assert not (busy and stalled)
            assert outcome.cycles < budget, "the engine is not idle in time"
            self.settle(rest)
            if offered and taken:
                assert not stop
                offered = 0
                queue.popleft()
            if not stop and self.hold("signals", signal & 1, ready, signal):
                sem_bits = engine.signals[0].payload.sem.shape().width
                item = signal >> 1
                outcome.signals.append((item & ((1 << sem_bits) - 1), item >> sem_bits))
                outcome.progress.append(outcome.effects)
            if trapped & 1:
                assert outcome.trap is None and not stop
                outcome.trap = tuple(split(trapped, [1, 4, PC_BITS, MEMORY_ADDRESS_BITS])[1:])
            if trapped & 1 or outcome.cycles == self.stop_at:
                # Control flushes its queues when it stops the engines.
                stop, offered, self.stop_at = 1, 0, None
                queue.clear()
                self.held.pop("signals", None)
            elif stop and idle:
                assert self.quiet(), "idle with a transaction pending"
                stop = 0
                queue.extend(self.after_stop())
            elif idle and not queue and not offered:
                assert self.quiet(), "idle with a transaction pending"
                quiet_cycles += 1
                if quiet_cycles > gap:
                    return
            if not idle:
                quiet_cycles = 0

    def after_stop(self) -> list[Command]:
        """Commands that follow a stop; overwritten by tests."""
        return []


def random_commands(rng: Random, config: TileConfig, count: int, memory_bytes: int = 4096):
    """A program of descriptors and syncs, most of which signal."""
    commands = []
    for index in range(count):
        signal = None
        if rng.random() < 0.8:
            signal = (rng.randrange(config.semaphores), rng.randrange(256))
        sync = rng.random() < 0.2
        fields = None if sync else random_descriptor(rng, config, memory_bytes, limit=120)
        commands.append(Command(fields, pc=4 * index, signal=signal))
    return commands


@dataclass
class Expectation:
    """Expected effects of a program; `sbuf` and `memory` are copies that `expect` changed."""

    sbuf: np.ndarray
    memory: np.ndarray
    signals: list[tuple[int, int]] = field(default_factory=list)
    trap: tuple[int, int, int] | None = None
    bursts: list[tuple[int, int]] = field(default_factory=list)
    elements: int = 0
    byte_count: int = 0
    progress: list[tuple[int, int]] = field(default_factory=list)
    """(elements, bytes) that are moved before each signal."""


def add(held: int, incoming: int, accumulate: Accumulate) -> int:
    """The sum of two codes."""
    codes = np.array([held, incoming], np.uint32)
    if accumulate == Accumulate.FP32:
        return int(fp32.add(codes[:1], codes[1:])[0])
    held_pattern, incoming_pattern = fp32.decode_pattern(codes, BF16.code)
    return int(cast(fp32.add(*(np.array([p]) for p in (held_pattern, incoming_pattern))), BF16)[0])


def accumulate_run(engine: Engine, run: Run, sbuf: np.ndarray, memory: np.ndarray) -> None:
    """Add the elements of a run to what is there, one by one."""
    width = 2 if run.accumulate == Accumulate.FP32 else 1
    for addr, partition, word in run.elements[::width]:
        there = memory[addr - BASE :][: 2 * width]
        words = sbuf[partition, word : word + width]
        outside = int.from_bytes(there.tobytes(), "little")
        inside = int.from_bytes(words.astype("<u2").tobytes(), "little")
        if engine == Engine.LOAD:
            total = add(inside, outside, run.accumulate).to_bytes(2 * width, "little")
            words[:] = np.frombuffer(total, "<u2")
        else:
            total = add(outside, inside, run.accumulate).to_bytes(2 * width, "little")
            there[:] = np.frombuffer(total, np.uint8)


def move(engine: Engine, run: Run, sbuf: np.ndarray, memory: np.ndarray) -> None:
    """Move the elements of a run, one by one."""
    if run.accumulate:
        accumulate_run(engine, run, sbuf, memory)
        return
    for addr, partition, word in run.elements:
        at = addr - BASE
        wide = run.size == 2 * len(run.elements)
        if engine == Engine.LOAD:
            high = int(memory[at + 1]) << 8 if wide else 0
            sbuf[partition, word] = int(memory[at]) | high
        else:
            value = int(sbuf[partition, word])
            memory[at] = value & 0xFF
            if wide:
                memory[at + 1] = value >> 8


def expect(bench: Bench, engine: Engine, commands: list[Command]) -> Expectation:
    """The meaning of `commands` from the state that `bench` is in now."""
    expected = Expectation(bench.sbuf.copy(), bench.memory.copy())
    for command in commands:
        runs = []
        if command.fields:
            runs = expand(bench.config, command.fields, bench.window, engine)
        for run in runs:
            if run.trap:
                cause, address = run.trap
                expected.trap = (cause, command.pc, address)
                return expected
            move(engine, run, expected.sbuf, expected.memory)
            expected.bursts += bursts_of(bench.config, run.addr, run.size)
            expected.elements += len(run.elements)
            expected.byte_count += run.size
        if command.signal:
            expected.signals.append(command.signal)
            expected.progress.append((expected.elements, expected.byte_count))
    return expected


def check(bench: Bench, engine: Engine, expected: Expectation) -> None:
    """Compare everything that a bench saw with what was expected."""
    outcome = bench.outcome
    assert outcome.trap == expected.trap
    assert outcome.signals == expected.signals
    assert outcome.bursts == expected.bursts
    assert outcome.beats == sum(length + 1 for _, length in expected.bursts)
    unit = 0 if engine == Engine.LOAD else 1
    assert outcome.effects == (expected.elements, expected.byte_count)[unit]
    for seen, due in zip(outcome.progress, expected.progress, strict=True):
        assert seen >= due[unit], "a signal before its effects"
    np.testing.assert_array_equal(bench.sbuf, expected.sbuf)
    np.testing.assert_array_equal(bench.memory, expected.memory)


def line_of_runs(config: TileConfig, *, runs: int, beats: int, layout: int, bytes1: int = 0):
    """A descriptor of `runs` aligned runs of `beats` beats each, one after the other."""
    elements = beats * config.bus_bytes // (2 - bytes1)
    return {
        "mem_addr": BASE,
        "run": elements,
        "count1": runs,
        "mem_stride1": beats * config.bus_bytes,
        "sbuf_addr": 0,
        "sbuf_stride1": elements if layout == Layout.FREE else elements // config.n,
        "sbuf_stride0": 1,
        "layout": layout,
        "bytes1": bytes1,
    }


def all_lanes(config: TileConfig, elements: int, layout: int, bytes1: int) -> dict[str, int]:
    """A descriptor whose runs of `elements` begin at each byte lane of the bus."""
    lines = -(-elements // config.bus_words) * config.bus_words
    return {
        "mem_addr": BASE + 3,
        "run": elements,
        "count1": config.bus_bytes,
        "mem_stride1": 2 * elements + 1 + 2 * config.bus_bytes - 2 * elements % config.bus_bytes,
        "sbuf_addr": 0,
        "sbuf_stride1": lines if layout == Layout.FREE else -(-elements // config.n),
        "sbuf_stride0": 1,
        "layout": layout,
        "bytes1": bytes1,
    }


SHAPES = {
    "tiny": {"name": "tiny", "sbuf_depth": 512},
    "small": {"name": "small", "sbuf_depth": 1024},
    "wide_bus": {"name": "tiny", "axi_data_width": 256, "sbuf_depth": 512, "max_burst_beats": 4},
    "narrow_bus": {"name": "medium", "axi_data_width": 64, "sbuf_depth": 256},
}
"""Configurations that differ in what a chunk is, with scratchpads whose ends random runs reach."""

TRAPS = {
    "below_the_window": ({"mem_addr": BASE + 40, "mem_stride1": -16}, Trap.MEMORY_WINDOW),
    "past_the_window": ({"mem_addr": BASE + 4096 - 40, "mem_stride1": 16}, Trap.MEMORY_WINDOW),
    "past_48_bits": ({"mem_addr": (1 << 48) - 8}, Trap.MEMORY_WINDOW),
    "below_the_scratchpad": ({"sbuf_addr": 16, "sbuf_stride1": -8}, Trap.SBUF_RANGE),
    "past_the_scratchpad": ({"sbuf_addr": -16, "sbuf_stride1": 8}, Trap.SBUF_RANGE),
    "past_the_partitions": ({"partition": 2, "partition_stride1": 3}, Trap.SBUF_RANGE),
    "off_a_line": ({"sbuf_addr": 0, "sbuf_stride1": 1}, Trap.SBUF_ALIGNMENT),
    "tail_past_the_scratchpad": ({"sbuf_addr": -8, "run": 9, "count1": 1}, Trap.SBUF_RANGE),
    "span_below": (
        {"layout": 1, "run": 50, "sbuf_addr": 20, "sbuf_stride0": -30000},
        Trap.SBUF_RANGE,
    ),
    "span_past": (
        {"layout": 1, "run": 2000, "bytes1": 1, "sbuf_addr": 20, "sbuf_stride0": 32767},
        Trap.SBUF_RANGE,
    ),
    "window_before_range": ({"mem_addr": 0, "sbuf_addr": 1}, Trap.MEMORY_WINDOW),
}
"""Changes to a good descriptor, and the cause that must be recorded."""


def trapping(config: TileConfig, name: str) -> tuple[list[Command], Trap]:
    """A program whose second instruction traps, and its cause; `sbuf_addr` < 0 is from the top."""
    changes, cause = TRAPS[name]
    fields = {"mem_addr": BASE, "run": 8, "count1": 9, "sbuf_addr": 0, "layout": 0} | changes
    if fields["sbuf_addr"] < 0:
        fields["sbuf_addr"] += config.sbuf_depth
    good = {"mem_addr": BASE + 7, "run": 20, "sbuf_addr": 64, "layout": 0, "partition": 1}
    commands = [
        Command(good, pc=0, signal=(1, 1)),
        Command(fields, pc=4, signal=(2, 1)),
        Command(good | {"sbuf_addr": 0}, pc=8, signal=(3, 1)),
    ]
    return commands, cause
