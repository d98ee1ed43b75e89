"""The tensor engine on the bench: its scratchpad, its programs, their sums by the golden model."""

from functools import cache

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from tegula.engine.interface import SIGNAL_TO_INSTRUCTION_CYCLES
from tegula.formats import BF16, E4M3FN
from tegula.isa.codec import encode
from tegula.isa.instructions import PAYLOAD_OFFSET, by_mnemonic
from tegula.isa.traps import Trap
from tegula.memory.scratchpad import Scratchpad
from tegula.tensor.engine import TensorEngine, write_end_cycles
from tegula_golden.numerics.accumulate import PartialSums, accumulate

__all__ = ["Run", "golden_pass", "load", "matmul", "random_passes"]

READ_PORT_CYCLES = 1


class TensorTop(wiring.Component):
    """The tensor engine and the scratchpad, connected as in the tile."""

    def __init__(self, config, engine):
        self.engine_block = engine(config)
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
def simulation(config, engine):
    """The engine with its memories, made once, and a function that runs a testbench from reset."""
    top, current = TensorTop(config, engine), []

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
    """Execution of a list of (mnemonic, fields): cycles, signals, traps, and PSUM on request.

    Parameters
    ----------
    psum_words
        Words of each partition of PSUM that are read at the end.
    limit
        Cycles that a program may take.
    clears
        No address of PSUM counts as written when `program` begins, for one cycle before it.
    probe
        Address of PSUM that is read all the time: `probed` has its words by the cycles since the
        first signal.
    engine
        Class of the engine.
    stop_at
        Cycle in which `program` is stopped.
    after
        Program that is run once the engine has stopped, where no address of PSUM counts as written.
    """

    def __init__(
        self,
        config,
        sbuf,
        program,
        psum_words=0,
        *,
        limit=4000,
        clears=False,
        probe=None,
        engine=TensorEngine,
        stop_at=None,
        after=(),
    ):
        self.config = config
        self.top, simulate = simulation(config, engine)
        self.signals, self.traps = [], []
        self.psum = np.zeros((config.n, psum_words), dtype=object)
        self.cycles = 0
        self._sbuf, self._program, self._limit = sbuf, program, limit
        self._clears, self._probe, self.probed = clears, probe, {}
        self._stop_at, self._after = stop_at, after
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
            await self._clear(ctx)
        for port in engine.signals:
            ctx.set(port.ready, 1)
        if self._probe is not None:
            ctx.set(top.engine_block.psum_read.addr, self._probe)
            ctx.set(top.engine_block.psum_read.en, 1)
        cycles = await self._execute(ctx, self._program, self._stop_at)
        if self.traps or self._stop_at is not None:
            ctx.set(engine.stop, 1)
            await ctx.tick().repeat(write_end_cycles(self.config) + 3)
            assert ctx.get(engine.idle)
            ctx.set(engine.stop, 0)
        if self._after:
            await self._clear(ctx)
            trapped, self.traps = self.traps, []
            cycles += await self._execute(ctx, self._after, None)
            assert not self.traps
            self.traps = trapped
        await self._read_psum(ctx)
        self.cycles = cycles

    async def _clear(self, ctx):
        """No address of PSUM is written from the next cycle on."""
        ctx.set(self.top.engine_block.clear, 1)
        await ctx.tick()
        ctx.set(self.top.engine_block.clear, 0)

    async def _execute(self, ctx, program, stop_at):
        """Offer all instructions; the cycles until idle, or a trap, or `stop_at`."""
        top, engine = self.top, self.top.engine_block.engine
        instructions = [instruction_item(pc, *item) for pc, item in enumerate(program)]
        cycle = 0
        ends = SIGNAL_TO_INSTRUCTION_CYCLES if self._probe is not None else None
        while (
            instructions or not ctx.get(engine.idle) or ends not in (None, *self.probed)
        ) and not (self.traps or cycle == stop_at):
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
        ctx.set(engine.instr.valid, 0)
        return cycle

    async def _read_psum(self, ctx):
        read = self.top.engine_block.psum_read
        for addr in range(self.psum.shape[1]):
            ctx.set(read.addr, addr)
            ctx.set(read.en, 1)
            await ctx.tick().repeat(READ_PORT_CYCLES)
            for p in range(self.config.n):
                self.psum[p, addr] = ctx.get(read.data[p])


def instruction_item(pc, mnemonic, fields):
    """An instruction as the queue delivers it, from its encoding."""
    word = int.from_bytes(encode(mnemonic, **fields), "little")
    return {
        "pc": pc,
        "op": by_mnemonic(mnemonic).code,
        "signal": word >> 27 & 1,
        "signal_sem": word >> 28 & 31,
        "signal_value": word >> 33 & 255,
        "payload": word >> PAYLOAD_OFFSET,
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


def golden_pass(
    config,
    partial,
    sbuf,
    load_at,
    move_at,
    rows,
    columns,
    f,
    fmts,
    *,
    packed=(False, False),
    moving_rows=None,
):
    """One load and matmul on the words of `sbuf` (codes above `rows` and `columns` are zero)."""
    moving_rows = rows if moving_rows is None else moving_rows
    stationary = np.zeros((config.n, config.n), dtype=np.uint16)
    stationary[:rows, :columns] = sbuf[:rows, load_at : load_at + columns]
    moving = np.zeros((config.n, f), dtype=np.uint16)
    moving[:moving_rows] = sbuf[:moving_rows, move_at : move_at + f]
    seconds = {
        f"{side}_second": (words >> 8).astype(np.uint8)
        for side, words, is_packed in zip(
            ("stationary", "moving"), (stationary, moving), packed, strict=True
        )
        if is_packed
    }
    first = [
        words.astype(np.uint8) if fmt.width == 8 else words
        for words, fmt in zip((stationary, moving), fmts, strict=True)
    ]
    return accumulate(partial, *first, *fmts, **seconds)


def random_passes(rng, config, sbuf, turns, depth):
    """Loads and matmuls on the words of `sbuf`, so many of each, and what they leave in PSUM.

    The first writes all of the `depth` words, onto which others accumulate. Each matmul signals.
    """
    sums = PartialSums.empty((config.n, depth), config.acc_width)
    program, words = [], sbuf.shape[1]
    for turn in range(turns):
        rows, columns = rng.integers(1, config.n + 1, 2)
        f = int(rng.integers(1, depth + 1))
        psum_addr = int(rng.integers(0, depth - f + 1))
        if turn == 0:
            f, psum_addr = depth, 0
        accumulating = turn > 0 and rng.random() < 0.6
        fmts = (BF16, E4M3FN) if turn % 3 == 0 else (BF16, BF16)
        load_at, move_at = (int(x) for x in rng.integers(0, words - config.n - depth, 2))
        signal = {"signal": 1, "signal_sem": turn % 16, "signal_value": 1}
        program += [
            load(load_at, rows, columns, fmts[0]),
            matmul(move_at, rows, f, psum_addr, int(accumulating), fmts[1], **signal),
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
    return program, sums
