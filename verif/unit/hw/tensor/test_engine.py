"""The tensor engine with its memories: results, order, hazards, signals, traps and cycle counts."""

from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from tegula.config import preset
from tegula.engine.interface import SIGNAL_TO_INSTRUCTION_CYCLES
from tegula.formats import BF16, E4M3FN
from tegula.isa.codec import encode
from tegula.isa.instructions import by_mnemonic
from tegula.isa.traps import Trap
from tegula.memory.scratchpad import Scratchpad
from tegula.tensor.engine import TensorEngine, load_period, signal_cycles, write_end_cycles
from tegula.tensor.psum import reuse_cycles
from tegula_golden.numerics.accumulate import PartialSums, accumulate
from verif.stimuli.operands import operands

TINY = preset("tiny")
SMALL = preset("small")
READ_PORT_CYCLES = 1


class TensorTop(wiring.Component):
    """The tensor engine and the scratchpad, connected as in the tile."""

    def __init__(self, config):
        self.engine_block = TensorEngine(config)
        self.scratchpad = Scratchpad(config)
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        tensor, scratchpad = self.engine_block, self.scratchpad
        m.submodules += [tensor, scratchpad]
        wiring.connect(m, tensor.moving, scratchpad.moving)
        wiring.connect(m, tensor.stationary, scratchpad.stationary)
        return m


@cache
def simulation(config):
    """The engine with its memories, made once, and a function that runs a testbench from reset."""
    top, current = TensorTop(config), []

    async def testbench(ctx):
        await current[-1](ctx)

    def simulate(job):
        if current:
            simulator.reset()
        current.append(job)
        simulator.run()

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    return top, simulate


class Run:
    """Execution of a list of (mnemonic, fields): cycles, signals, traps, and PSUM on request."""

    def __init__(self, config, sbuf, program, psum_words=0, limit=4000, clears=False, probe=None):
        self.config = config
        self.top, simulate = simulation(config)
        self.signals, self.traps = [], []
        self.psum = np.zeros((config.n, psum_words), dtype=object)
        self.cycles = 0
        self._sbuf, self._program, self._limit = sbuf, program, limit
        self._clears, self._probe, self.probed = clears, probe, {}
        simulate(self._drive)
        assert self.cycles, "the testbench did not end"

    async def _drive(self, ctx):
        top, engine = self.top, self.top.engine_block.engine
        for addr in range(self._sbuf.shape[1]):
            write = top.scratchpad.vector_write.payload
            ctx.set(write.enable, (1 << self.config.n) - 1)
            ctx.set(write.addr, addr)
            ctx.set(write.words, [int(word) for word in self._sbuf[:, addr]])
            await ctx.tick()
        ctx.set(top.scratchpad.vector_write.payload.enable, 0)
        await ctx.tick().repeat(self.config.psum_depth // 16 + 4)
        if self._clears:
            ctx.set(top.engine_block.clear, 1)
            await ctx.tick()
            ctx.set(top.engine_block.clear, 0)
        for port in engine.signals:
            ctx.set(port.ready, 1)
        if self._probe is not None:
            ctx.set(top.engine_block.psum_read.addr, self._probe)
            ctx.set(top.engine_block.psum_read.en, 1)
        instructions = [instruction_item(pc, *item) for pc, item in enumerate(self._program)]
        cycle = 0
        ends = SIGNAL_TO_INSTRUCTION_CYCLES if self._probe is not None else None
        while (
            instructions or not ctx.get(engine.idle) or ends not in (None, *self.probed)
        ) and not self.traps:
            assert cycle < self._limit, "the engine did not come to rest"
            ctx.set(engine.instr.valid, bool(instructions))
            if instructions:
                ctx.set(engine.instr.payload, instructions[0])
            ready = ctx.get(engine.instr.ready)
            for index, port in enumerate(engine.signals):
                if ctx.get(port.valid):
                    self.signals.append((cycle, index, ctx.get(port.p.sem)))
            if self._probe is not None and self.signals:
                read = top.engine_block.psum_read
                words = [ctx.get(read.data[p]) for p in range(self.config.n)]
                self.probed[cycle - self.signals[0][0] - READ_PORT_CYCLES] = words
            if ctx.get(engine.trap_valid):
                trap = engine.trap
                self.traps.append(
                    (Trap(ctx.get(trap.cause)), ctx.get(trap.pc), ctx.get(trap.address))
                )
            await ctx.tick()
            cycle += 1
            if instructions and ready:
                instructions.pop(0)
        if self.traps:
            ctx.set(engine.stop, 1)
            await ctx.tick().repeat(write_end_cycles(self.config) + 3)
            assert ctx.get(engine.idle)
        read = top.engine_block.psum_read
        for addr in range(self.psum.shape[1]):
            ctx.set(read.addr, addr)
            ctx.set(read.en, 1)
            await ctx.tick().repeat(READ_PORT_CYCLES)
            for p in range(self.config.n):
                self.psum[p, addr] = ctx.get(read.data[p])
        self.cycles = cycle


def instruction_item(pc, mnemonic, fields):
    """An instruction as the queue delivers it, from its encoding."""
    word = int.from_bytes(encode(mnemonic, **fields), "little")
    return {
        "pc": pc,
        "op": by_mnemonic(mnemonic).code,
        "signal": word >> 27 & 1,
        "signal_sem": word >> 28 & 31,
        "signal_value": word >> 33 & 255,
        "payload": (word >> 48) & ((1 << 72) - 1),
    }


def load(addr, rows, columns, fmt=BF16, **fields):
    return "tensor.load", {
        "addr": addr,
        "rows": rows,
        "columns": columns,
        "format": fmt.name,
        **fields,
    }


def matmul(addr, rows, columns, psum_addr, accumulate=0, fmt=BF16, **fields):
    return "tensor.matmul", {
        "addr": addr,
        "rows": rows,
        "columns": columns,
        "psum_addr": psum_addr,
        "accumulate": accumulate,
        "format": fmt.name,
        **fields,
    }


def golden_pass(config, partial, sbuf, load_at, move_at, rows, columns, f, fmts):
    """One load and matmul on the words of `sbuf` (codes above `rows` and `columns` are zero)."""
    masks = [0xFF if fmt.width == 8 else 0xFFFF for fmt in fmts]
    dtypes = [np.uint8 if fmt.width == 8 else np.uint16 for fmt in fmts]
    stationary = np.zeros((config.n, config.n), dtype=dtypes[0])
    stationary[:rows, :columns] = sbuf[:rows, load_at : load_at + columns] & masks[0]
    moving = np.zeros((config.n, f), dtype=dtypes[1])
    moving[:rows] = sbuf[:rows, move_at : move_at + f] & masks[1]
    return accumulate(partial, stationary, moving, *fmts)


@pytest.mark.parametrize("config", [TINY, SMALL], ids=["tiny", "small"])
def test_random_loads_and_matmuls_equal_golden(config):
    rng = np.random.default_rng(5)
    sbuf = operands(rng, (config.n, 96), BF16, "uniform_codes")
    depth = 12
    sums = PartialSums.empty((config.n, depth), config.acc_width)
    program = []
    for turn in range(12):
        rows, columns = rng.integers(1, config.n + 1, 2)
        f = int(rng.integers(1, depth + 1))
        psum_addr = int(rng.integers(0, depth - f + 1))
        if turn == 0:
            f, psum_addr = depth, 0
        accumulating = turn > 0 and rng.random() < 0.6
        fmts = (BF16, E4M3FN) if turn % 3 == 0 else (BF16, BF16)
        load_at, move_at = (int(x) for x in rng.integers(0, 96 - config.n - depth, 2))
        program += [
            load(load_at, rows, columns, fmts[0]),
            matmul(move_at, rows, f, psum_addr, int(accumulating), fmts[1]),
        ]
        window = slice(psum_addr, psum_addr + f)
        partial = PartialSums.empty((config.n, f), config.acc_width)
        if accumulating:
            partial = PartialSums(
                exponent=sums.exponent[:, window].copy(),
                significand=sums.significand[:, window].copy(),
                acc_width=config.acc_width,
            )
        result = golden_pass(config, partial, sbuf, load_at, move_at, rows, columns, f, fmts)
        sums.exponent[:, window] = result.exponent
        sums.significand[:, window] = result.significand
    run = Run(config, sbuf, program, psum_words=depth)
    assert not run.traps
    assert (run.psum == sums.words()).all()


def test_matmuls_longer_than_a_load_follow_without_a_gap():
    sbuf = np.ones((SMALL.n, 64), dtype=np.uint16)
    f, pairs = 48, 6
    program = [
        item for turn in range(pairs) for item in (load(0, 8, 8), matmul(8, 8, f, 0, int(turn > 0)))
    ]
    run = Run(SMALL, sbuf, program)
    start = SMALL.n + 6
    assert run.cycles <= start + pairs * f + write_end_cycles(SMALL) + 2


def test_short_matmuls_follow_at_the_period_of_a_load():
    sbuf = operands(np.random.default_rng(7), (SMALL.n, 64), BF16, "normal")
    pairs, program, sums = 8, [], []
    for turn in range(pairs):
        program += [load(turn, 8, 8), matmul(24 + turn, 8, 4, 4 * turn)]
        empty = PartialSums.empty((SMALL.n, 4), SMALL.acc_width)
        sums.append(golden_pass(SMALL, empty, sbuf, turn, 24 + turn, 8, 8, 4, (BF16, BF16)))
    run = Run(SMALL, sbuf, program, psum_words=4 * pairs)
    assert (run.psum == np.hstack([each.words() for each in sums])).all()
    assert load_period(SMALL) <= SMALL.n + 4
    assert run.cycles <= pairs * load_period(SMALL) + write_end_cycles(SMALL) + 9


def test_operand_and_moving_columns_of_one_bank_are_read_one_after_the_other():
    sbuf = operands(np.random.default_rng(8), (SMALL.n, 192), BF16, "normal")
    banks = SMALL.bus_words
    program = [
        load(0, 8, 8),
        matmul(64, 8, 12, 0, stride=banks),
        load(128, 8, 8, stride=banks),
        matmul(9, 8, 4, 12),
    ]
    run = Run(SMALL, sbuf, program, psum_words=16)
    moved = np.concatenate([sbuf[:, 64 : 64 + 12 * banks : banks], sbuf[:, 9:13]], axis=1)
    loaded = np.concatenate([sbuf[:, :8], sbuf[:, 128 : 128 + 8 * banks : banks]], axis=1)
    words = np.concatenate([loaded, moved], axis=1)
    for at, start, f, where in ((0, 16, 12, 0), (8, 28, 4, 12)):
        empty = PartialSums.empty((SMALL.n, f), SMALL.acc_width)
        want = golden_pass(SMALL, empty, words, at, start, 8, 8, f, (BF16, BF16))
        assert (run.psum[:, where : where + f] == want.words()).all()


def test_accumulating_onto_a_word_in_flight_waits_for_it():
    sbuf = np.ones((TINY.n, 64), dtype=np.uint16)
    program = [load(0, 4, 4), matmul(8, 4, 1, 0), *[matmul(8, 4, 1, 0, 1)] * 5]
    run = Run(TINY, sbuf, program, psum_words=1)
    sums = PartialSums.empty((TINY.n, 1), TINY.acc_width)
    for _ in range(6):
        sums = golden_pass(TINY, sums, sbuf, 0, 8, 4, 4, 1, (BF16, BF16))
    assert (run.psum == sums.words()).all()
    assert run.cycles >= 5 * reuse_cycles(TINY)
    assert run.cycles <= 6 * reuse_cycles(TINY) + TINY.n + write_end_cycles(TINY) + 8


def test_a_load_leaves_the_operand_of_a_matmul_that_has_not_begun():
    config = SMALL
    assert config.psum_depth // 16 > config.n + 4  # the map is not ready when the matmul is
    sbuf = operands(np.random.default_rng(6), (config.n, 64), BF16, "uniform_codes")
    program = [load(0, 8, 8), matmul(16, 8, 4, 0), load(8, 8, 8)]
    run = Run(config, sbuf, program, psum_words=4, clears=True)
    empty = PartialSums.empty((config.n, 4), config.acc_width)
    sums = golden_pass(config, empty, sbuf, 0, 16, 8, 8, 4, (BF16, BF16))
    assert (run.psum == sums.words()).all()


def test_signals_come_after_the_results_and_in_order():
    sbuf = np.ones((TINY.n, 64), dtype=np.uint16)
    program = [
        load(0, 4, 4, signal=1, signal_sem=1, signal_value=1),
        matmul(8, 4, 5, 0, signal=1, signal_sem=2, signal_value=1),
        matmul(8, 4, 3, 8, signal=1, signal_sem=3, signal_value=1),
        ("tensor.sync", {"signal": 1, "signal_sem": 4, "signal_value": 1}),
    ]
    run = Run(TINY, sbuf, program)
    assert [(port, sem) for _, port, sem in run.signals] == [(1, 1), (0, 2), (0, 3), (0, 4)]
    cycles = [cycle for cycle, _, _ in run.signals]
    # The load's signal comes two cycles after its last column, as the first moving column does.
    assert cycles[1] - cycles[0] == 4 + signal_cycles(TINY)
    assert cycles[2] - cycles[1] >= 3


@pytest.mark.parametrize("config", [TINY, SMALL], ids=["tiny", "small"])
def test_a_read_that_a_signal_wakes_finds_the_last_word_and_not_a_cycle_too_late(config):
    sbuf = operands(np.random.default_rng(9), (config.n, 64), BF16, "normal")
    program = [
        load(0, config.n, config.n),
        matmul(16, config.n, 3, 0),
        matmul(24, config.n, 3, 0, signal=1, signal_sem=1, signal_value=1),
    ]
    empty = PartialSums.empty((config.n, 3), config.acc_width)
    sums = golden_pass(config, empty, sbuf, 0, 24, config.n, config.n, 3, (BF16, BF16))
    run = Run(config, sbuf, program, probe=2)
    late, early = SIGNAL_TO_INSTRUCTION_CYCLES, SIGNAL_TO_INSTRUCTION_CYCLES - 1
    assert run.probed[late] == list(sums.words()[:, 2])
    assert run.probed[early][:1] != list(sums.words()[:1, 2])


@pytest.mark.parametrize(
    ("program", "trap"),
    [
        ([load(8190, 4, 4)], (Trap.SBUF_RANGE, 0, 8192)),
        ([load(1, 4, 4, stride=-1)], (Trap.SBUF_RANGE, 0, 0xFFFFF)),
        ([load(0, 4, 4), matmul(8190, 4, 4, 0)], (Trap.SBUF_RANGE, 1, 8192)),
        ([load(0, 4, 4), matmul(0, 4, 4, 254)], (Trap.PSUM_RANGE, 1, 256)),
        ([load(0, 4, 4), matmul(0, 4, 4, 3, 1)], (Trap.PSUM_UNWRITTEN, 1, 3)),
        (
            [load(0, 4, 4), matmul(0, 4, 4, 3), matmul(0, 4, 5, 3, 1)],
            (Trap.PSUM_UNWRITTEN, 2, 7),
        ),
    ],
)
def test_bad_addresses_trap_with_their_address(program, trap):
    run = Run(TINY, np.ones((TINY.n, 8), dtype=np.uint16), program)
    assert run.traps == [trap]
