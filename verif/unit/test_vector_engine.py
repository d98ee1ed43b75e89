"""VectorEngine with memories around it, against the golden model and a budget of cycles."""

import random
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib import memory
from amaranth.sim import Simulator

from tegula.arith.cast import Cast
from tegula.arith.psum_round import PsumRound
from tegula.config import preset
from tegula.formats import BF16, E4M3FN, E5M2, FP32
from tegula.isa.traps import Trap
from tegula.signatures import payload_layout
from tegula.vector.completion import CompletionQueue
from tegula.vector.engine import PSUM_READ_LATENCY, VectorEngine
from tegula_golden.compute import vector_copy
from tegula_golden.tile_state import EngineTrap, TileState

CONFIG = preset("tiny", sbuf_depth=256, psum_banks=4, psum_bank_words=8)
N, W, DEPTH, PSUM_DEPTH = CONFIG.n, CONFIG.acc_width, CONFIG.sbuf_depth, CONFIG.psum_depth
FIELDS = tuple(name for name, _ in payload_layout("vector.copy"))
FORMATS = (BF16, E4M3FN, E5M2, FP32)
SEED = 11


def copy(**fields):
    """A vector.copy; unnamed fields are zero, but all rows take part in one column."""
    signal = fields.pop("signal", None)
    zeros = dict.fromkeys(FIELDS, 0)
    return {"op": 1, "signal": signal, "fields": zeros | {"rows": N, "columns": 1} | fields}


def sync(signal=None):
    return {"op": 0, "signal": signal, "fields": {}}


def pack(words, width):
    """Words of all partitions as one row, partition 0 lowest."""
    return sum(int(word) << (width * p) for p, word in enumerate(words))


class Memories(Elaboratable):
    """The engine between a PSUM, its map of written words, and a scratchpad.

    Reads of the scratchpad take `row_latency` cycles from acceptance; writes land a cycle after
    they are made, as in the tile. `grant` is the arbiter's.
    """

    def __init__(self, row_latency):
        self.engine = VectorEngine(CONFIG)
        self.grant = Signal()
        self.row_latency = row_latency
        self.psum = memory.Memory(shape=(9 + W) * N, depth=PSUM_DEPTH, init=[])
        self.map = memory.Memory(shape=1, depth=PSUM_DEPTH, init=[])
        self.sbuf = memory.Memory(shape=16 * N, depth=DEPTH, init=[])

    def fill(self, ctx, state):
        """Put the golden model's state into the memories."""
        for addr, column in enumerate(state.psum(slice(None)).words().T):
            ctx.set(self.psum.data[addr], pack(column, 9 + W))
            ctx.set(self.map.data[addr], int(state.written[addr]))
        for addr, row in enumerate(state.sbuf.T):
            ctx.set(self.sbuf.data[addr], pack(row, 16))

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = engine = self.engine
        m.submodules.psum, m.submodules.map, m.submodules.sbuf = self.psum, self.map, self.sbuf
        psum, written = self.psum.read_port(), self.map.read_port(domain="comb")
        read, write = self.sbuf.read_port(), self.sbuf.write_port(granularity=16)
        m.d.comb += [
            psum.addr.eq(engine.psum_addr),
            psum.en.eq(engine.psum_en),
            engine.psum_data.eq(psum.data),
            written.addr.eq(engine.psum_addr),
            engine.psum_written.eq(written.data),
            engine.row_read.ready.eq(self.grant),
            read.addr.eq(engine.row_read.payload),
        ]
        row, valid = read.data, Signal()
        m.d.sync += [
            valid.eq(engine.row_read.valid & engine.row_read.ready),
            write.en.eq(engine.row_write_en),
            write.addr.eq(engine.row_write_addr),
            write.data.eq(engine.row_write_data),
        ]
        for stage in range(self.row_latency - 1):
            later, later_valid = Signal.like(row), Signal(name=f"valid_{stage}")
            m.d.sync += [later.eq(row), later_valid.eq(valid)]
            row, valid = later, later_valid
        m.d.comb += [engine.row_data.eq(row), engine.row_valid.eq(valid)]
        return m


@cache
def bench(row_latency):
    """The memories, compiled once, and a function that runs a testbench on them from reset."""
    dut = Memories(row_latency)
    current = []

    async def testbench(ctx):
        await current[0](ctx)

    def simulate(job):
        if current:
            sim.reset()
        current[:] = [job]
        sim.run()

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(testbench)
    return dut, simulate


@dataclass
class Observed:
    """What happened, each event with its cycle (counted from the first offer of an instruction)."""

    writes: list = field(default_factory=list)
    signals: list = field(default_factory=list)
    traps: list = field(default_factory=list)
    reads: list = field(default_factory=list)
    busy: int = 0
    stalled: int = 0
    cycles: int = 0
    sbuf: np.ndarray | None = None


def run(state, program, *, row_latency=2, stall=0.0, stop_at=None, after=()):
    """Run `program` until it is done or has trapped; then stop, and run `after` if there is any.

    With `stop_at`, stop in that cycle instead. Fails if it takes longer than any stall explains.
    """
    dut, simulate = bench(row_latency)
    engine, port = dut.engine, dut.engine.engine
    seen = Observed()
    rng = random.Random(SEED)
    columns = sum(item["fields"].get("columns", 0) for item in (*program, *after))
    budget = round((50 + 40 * len((*program, *after)) + 4 * columns) / (1 - stall) ** 2)

    def offer(ctx, item, pc):
        values = {"pc": pc, "op": item["op"], "signal": item["signal"] is not None}
        if item["signal"] is not None:
            values |= dict(zip(("signal_sem", "signal_value"), item["signal"], strict=True))
        payload = payload_layout("vector.copy").const(item["fields"])
        ctx.set(port.instr.payload, values | {"payload": payload.as_bits()})
        ctx.set(port.instr.valid, 1)

    async def cycle(ctx):
        """Record a cycle; whether it took the instruction, and whether the engine was idle."""
        ctx.set(dut.grant, rng.random() >= stall)
        ctx.set(port.signals[0].ready, rng.random() >= stall)
        (
            *_,
            taken,
            enable,
            addr,
            signal,
            update,
            trapped,
            trap,
            idle,
            read,
            busy,
            stalled,
        ) = await ctx.tick().sample(
            port.instr.ready & port.instr.valid,
            engine.row_write_en,
            engine.row_write_addr,
            port.signals[0].valid & port.signals[0].ready,
            port.signals[0].payload,
            port.trap_valid,
            port.trap,
            port.idle,
            engine.psum_en,
            port.busy,
            port.stall,
        )
        assert not (seen.traps and (enable or signal)), "an effect after the trap"
        if enable:
            seen.writes.append((seen.cycles, addr, enable))
        if signal:
            seen.signals.append((seen.cycles, update.sem, update.value))
        if trapped:
            seen.traps.append((Trap(trap.cause), trap.pc, trap.address))
        if read:
            seen.reads.append(seen.cycles)
        seen.busy += busy
        seen.stalled += stalled
        assert not (busy and stalled)
        assert not (idle and (busy or stalled or enable))
        seen.cycles += 1
        assert seen.cycles < budget, "the engine hangs"
        return taken, idle

    async def execute(ctx, items, first_pc):
        """Offer all items back to back; until idle, or a trap, or `stop_at`."""
        for pc, item in enumerate(items, first_pc):
            offer(ctx, item, pc)
            taken = False
            while not taken:
                taken, _ = await cycle(ctx)
                if seen.traps or seen.cycles == stop_at:
                    return
        ctx.set(port.instr.valid, 0)
        idle = False
        while not idle and not seen.traps and seen.cycles != stop_at:
            _, idle = await cycle(ctx)

    async def stop(ctx):
        """Hold `stop` until the engine is idle: nothing may happen meanwhile."""
        happened = len(seen.writes), len(seen.signals), len(seen.traps)
        ctx.set(port.stop, 1)
        idle, waited = False, 0
        while not idle or waited < 3:
            taken, idle = await cycle(ctx)
            waited += 1
            assert not taken
        assert (len(seen.writes), len(seen.signals), len(seen.traps)) == happened
        ctx.set(port.stop, 0)

    async def testbench(ctx):
        dut.fill(ctx, state)
        await execute(ctx, program, 0)
        if seen.traps:
            for _ in range(25):
                await cycle(ctx)
        if after:
            nonlocal stop_at
            stop_at = None
            await stop(ctx)
            trapped, seen.traps = seen.traps, []
            await execute(ctx, after, 100)
            assert not seen.traps
            seen.traps = trapped
        for _ in range(3):
            await cycle(ctx)
        rows = [ctx.get(dut.sbuf.data[addr]) for addr in range(DEPTH)]
        words = [[row >> (16 * p) & 0xFFFF for row in rows] for p in range(N)]
        seen.sbuf = np.array(words, dtype=np.uint16)

    simulate(testbench)
    assert seen.sbuf is not None
    return seen


def random_state(*, written=slice(0, PSUM_DEPTH), seed=SEED):
    """PSUM words and fp32 in the scratchpad, around the values of the 8-bit formats."""
    rng = np.random.default_rng(seed)
    state = TileState(CONFIG)
    shape = (N, PSUM_DEPTH)
    bits = rng.integers(1, W - 1, shape)
    magnitude = rng.integers(0, 1 << 62, shape) >> (62 - bits) | 1 << (bits - 1)
    power = rng.integers(-18, 19, shape)
    state.exponent[:] = power + 240 + W - bits
    state.significand[:] = np.where(rng.random(shape) < 0.5, magnitude, -magnitude)
    empty = rng.random(shape) < 0.15
    state.exponent[empty] = rng.choice([0, 300, 509, 510, 511], empty.sum())
    state.significand[empty] = 0
    state.written[written] = True
    scale = 2.0 ** rng.integers(-18, 19, DEPTH // 2)
    values = (rng.standard_normal((N, DEPTH // 2)) * scale).astype(np.float32)
    specials = np.array([0, np.inf, -np.inf, np.nan], np.float32)
    values[:, ::9] = rng.choice(specials, values[:, ::9].shape)
    state.sbuf[:] = values.view(np.uint16)
    return state


def check(program, state, **how):
    """Run on hardware and golden: same scratchpad, same trap, the same signals in order."""
    golden, trap, signals = deepcopy(state), None, []
    words, words_before = 0, []
    for pc, item in enumerate(program):
        try:
            if item["op"]:
                vector_copy(golden, item["fields"])
        except EngineTrap as error:
            trap = (error.cause, pc, error.address)
            break
        fields = item["fields"]
        if item["op"]:
            words += fields["columns"] * (2 if fields["format"] == FP32.code else 1)
        if item["signal"] is not None:
            signals.append(item["signal"])
            words_before.append(words)
    for item in how.get("after", ()):
        vector_copy(golden, item["fields"])
        assert item["signal"] is None
    seen = run(state, program, **how)
    assert seen.traps == ([] if trap is None else [trap])
    assert [(sem, value) for _, sem, value in seen.signals] == signals
    for (cycle, *_), count in zip(seen.signals, words_before, strict=True):
        assert count == 0 or cycle > seen.writes[count - 1][0], "a signal before its effect"
    wrong = np.argwhere(seen.sbuf != golden.sbuf)
    assert wrong.size == 0, f"first wrong words (partition, address): {wrong[:4].tolist()}"
    assert seen.writes or trap or not any(item["op"] for item in program)
    return seen


@pytest.mark.parametrize("stochastic", [0, 1])
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
def test_psum_is_rounded_cast_and_written(fmt, stochastic):
    common = {"format": fmt.code, "stochastic": stochastic, "random": 130, "columns": PSUM_DEPTH}
    check([copy(**common, dst=3), copy(**common, dst=67, saturate=1)], random_state())


@pytest.mark.parametrize("stochastic", [0, 1])
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
def test_fp32_in_the_scratchpad_is_cast(fmt, stochastic):
    common = {"format": fmt.code, "stochastic": stochastic, "random": 130, "source": 1}
    first = copy(**common, src=0, columns=31, dst=62)
    check([first, copy(**common, src=162, columns=40, dst=5, saturate=1)], random_state())


@pytest.mark.parametrize("rows", range(1, N + 1))
def test_only_the_rows_asked_for_are_written(rows):
    seen = check([copy(rows=rows, columns=9, dst=7, format=FP32.code)], random_state())
    assert {enable for _, _, enable in seen.writes} == {(1 << rows) - 1}


@pytest.mark.parametrize("row_latency", [1, 2, VectorEngine.ROW_LATENCY_MAX])
@pytest.mark.parametrize("stall", [0.0, 0.3, 0.7])
def test_any_mix_of_instructions_under_any_stalls(stall, row_latency):
    rng = random.Random(SEED)
    program = []
    for index in range(24):
        signal = (index % 16, index) if rng.random() < 0.7 else None
        if rng.random() < 0.2:
            program.append(sync(signal=signal))
            continue
        source, src = rng.choice(((0, rng.randrange(0, 16)), (1, rng.randrange(100, 140))))
        program.append(
            copy(
                signal=signal,
                source=source,
                src=src,
                dst=rng.randrange(0, 40),
                random=rng.randrange(180, 200),
                columns=rng.randint(1, 16),
                rows=rng.randint(1, N),
                format=rng.choice(FORMATS).code,
                stochastic=rng.getrandbits(1),
                saturate=rng.getrandbits(1),
            )
        )
    assert sum(item["op"] for item in program) > 12
    check(program, random_state(), stall=stall, row_latency=row_latency)


def test_an_instruction_reads_what_the_one_before_it_wrote():
    state = random_state()
    fp32 = copy(columns=16, dst=0, format=FP32.code)
    check([fp32, copy(source=1, src=0, columns=16, dst=64)], state)
    as_random = copy(columns=16, src=16, dst=96, stochastic=1, random=0)
    check([copy(columns=16, dst=0), as_random], state)
    check([fp32, copy(source=1, src=31, dst=64, format=FP32.code)], state)


@pytest.mark.parametrize(
    ("fields", "cycles_each"),
    [
        ({}, 1),
        ({"format": E5M2.code, "saturate": 1}, 1),
        ({"format": FP32.code}, 2),
        ({"stochastic": 1}, 1),
        ({"stochastic": 1, "format": FP32.code}, 2),
        ({"source": 1, "dst": 200}, 2),
        ({"source": 1, "dst": 200, "stochastic": 1}, 3),
        ({"source": 1, "dst": 150, "format": FP32.code}, 2),
    ],
)
def test_columns_follow_each_other_at_the_documented_rate(fields, cycles_each):
    columns = PSUM_DEPTH
    seen = check([copy(columns=columns, random=90, **fields)], random_state())
    firsts = seen.writes[:: len(seen.writes) // columns]
    assert len(firsts) == columns
    cycles = np.array([cycle for cycle, _, _ in firsts])
    assert (np.diff(cycles) == cycles_each).all()


def test_latencies_are_the_documented_ones():
    seen = check([copy(columns=5, signal=(3, 7))], random_state())
    assert VectorEngine.PSUM_WRITE_LATENCY == PSUM_READ_LATENCY + PsumRound.LATENCY + Cast.LATENCY
    for read, (write, _, _) in zip(seen.reads, seen.writes, strict=True):
        assert write - read == VectorEngine.PSUM_WRITE_LATENCY
    assert seen.signals == [(seen.writes[-1][0] + 1, 3, 7)]


def test_copies_from_psum_follow_each_other_with_one_cycle_lost():
    program = [copy(src=8 * i, dst=8 * i, columns=8, signal=(1, 1)) for i in range(4)]
    seen = check(program, random_state())
    assert seen.writes[-1][0] - seen.writes[0][0] == 4 * 8 - 1 + 3
    assert len(seen.signals) == 4


def test_signals_wait_for_all_writes_before_them():
    program = [copy(columns=12, signal=(0, 1)), sync(signal=(1, 2)), sync(), sync(signal=(2, 3))]
    seen = check(program, random_state())
    last = seen.writes[-1][0]
    assert [cycle - last for cycle, _, _ in seen.signals] == [1, 2, 4]


def test_a_denied_row_counts_as_a_stall():
    assert check([copy(columns=16, stochastic=1)], random_state()).stalled == 0
    assert check([copy(columns=16, stochastic=1)], random_state(), stall=0.5).stalled > 4


GOOD = copy(source=1, src=40, dst=2, columns=20, format=E4M3FN.code, stochastic=1, random=100)

BAD = {
    "psum range": copy(src=PSUM_DEPTH - 3, columns=6),
    "psum range at once": copy(src=0xFFFF, columns=2),
    "psum unwritten": copy(src=16, columns=12),
    "psum unwritten, stochastic": copy(src=16, columns=12, stochastic=1, random=60),
    "low half": copy(source=1, src=DEPTH - 6, columns=5),
    "high half": copy(source=1, src=DEPTH - 5, columns=5, format=FP32.code),
    "source at once": copy(source=1, src=0xFFFF, columns=2),
    "random, PSUM": copy(stochastic=1, random=DEPTH - 4, columns=9),
    "random, scratchpad": copy(source=1, stochastic=1, random=DEPTH - 4, columns=9),
    "random at once": copy(stochastic=1, random=0xFFFF),
    "destination": copy(dst=DEPTH - 4, columns=9),
    "destination, scratchpad": copy(source=1, src=9, dst=DEPTH - 4, columns=9),
    "low destination": copy(dst=DEPTH - 6, columns=9, format=FP32.code),
    "high destination": copy(dst=DEPTH - 5, columns=9, format=FP32.code),
    "destination at once": copy(dst=0xFFFF, columns=3),
    "source before random before destination": copy(
        source=1, src=DEPTH, stochastic=1, random=DEPTH + 1, dst=DEPTH + 2
    ),
    "random before destination": copy(stochastic=1, random=DEPTH + 1, dst=DEPTH + 2),
    "unwritten before random": copy(src=PSUM_DEPTH - 1, stochastic=1, random=DEPTH),
    "range before unwritten": copy(src=PSUM_DEPTH, random=DEPTH),
}


@pytest.mark.parametrize(("stall", "row_latency"), [(0.0, VectorEngine.ROW_LATENCY_MAX), (0.5, 2)])
@pytest.mark.parametrize("name", BAD)
def test_the_first_violation_traps_after_what_precedes_it_and_a_good_program_runs(
    name, stall, row_latency
):
    before = [copy(columns=11, dst=80, signal=(4, 9)), sync(signal=(5, 1))]
    program = [*before, BAD[name], copy(columns=4, dst=0, signal=(6, 1))]
    limit = 20 if "unwritten" in name else PSUM_DEPTH
    state = random_state(written=slice(0, limit))
    seen = check(program, state, after=[GOOD], stall=stall, row_latency=row_latency)
    assert len(seen.traps) == 1


@pytest.mark.parametrize("first", [copy(columns=30, dst=120), GOOD, copy(columns=30, stochastic=1)])
@pytest.mark.parametrize("stop_at", [1, 2, 3, 5, 9, 18, 19, 27])
def test_stop_drops_the_work_and_the_next_instruction_is_right(first, stop_at):
    state = random_state()
    seen = run(state, [first], stop_at=stop_at, after=[GOOD], row_latency=5)
    done = [addr for _, addr, _ in seen.writes]
    golden = deepcopy(state)
    partial = first["fields"] | {"columns": max(len(done) - GOOD["fields"]["columns"], 0)}
    assert len(done) >= GOOD["fields"]["columns"]
    if partial["columns"]:
        vector_copy(golden, partial)
    vector_copy(golden, GOOD["fields"])
    np.testing.assert_array_equal(seen.sbuf, golden.sbuf)


def test_no_more_instructions_are_taken_than_signals_can_be_remembered():
    program = [copy(dst=i, src=i, signal=(i, i)) for i in range(3 * CompletionQueue.DEPTH)]
    check(program, random_state(), stall=0.9)
