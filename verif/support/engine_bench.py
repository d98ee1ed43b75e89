"""An engine between memories and queues in Python, for vector and activation benches."""

import random
from copy import deepcopy
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from tegula.isa.codec import decode, encode
from tegula.isa.instructions import PAYLOAD_OFFSET
from tegula.isa.traps import Trap
from tegula.memory.ports import BANK_READ_CYCLES
from tegula_golden.tile.state import EngineTrap, TileState
from verif.support.compiled import compiled_model

__all__ = ["EnginePlayer", "Item", "Observed", "check", "pack", "run"]

SEED = 11
_POISON = 0xDEAD
"""What a read gets of a word that is being written."""

_TRAP_CYCLES = 80
"""Cycles after a trap in which nothing may happen."""


@dataclass(frozen=True)
class Item:
    """An instruction as its queue delivers it; `signal` is (semaphore, value)."""

    mnemonic: str
    fields: dict
    signal: tuple[int, int] | None = None

    @property
    def full(self):
        """All fields, with their defaults."""
        return decode(encode(self.mnemonic, **self.fields)).fields

    @property
    def word(self):
        return int.from_bytes(encode(self.mnemonic, **self.fields), "little")


def pack(words, width):
    """Words of all partitions as one number, partition 0 lowest."""
    return sum(int(word) << (width * p) for p, word in enumerate(words))


@dataclass
class Observed:
    """Observed events, each with its cycle, counted from the first offer of an instruction."""

    writes: list = field(default_factory=list)
    signals: list = field(default_factory=list)
    traps: list = field(default_factory=list)
    busy: int = 0
    stalled: int = 0
    cycles: int = 0
    sbuf: np.ndarray | None = None


class Words:
    """Scratchpad words; writes land a cycle after they come."""

    def __init__(self, words: np.ndarray):
        self.words = words.copy()
        self._landing: list[list[tuple[int, ...]]] = []

    def row(self, addr):
        """A row as a read that is accepted in this cycle gets it: int64, a word a partition."""
        words = self.words[:, addr].astype(np.int64)
        for places in self._landing:
            for partition, at, *_ in places:
                if at == addr:
                    words[partition] = _POISON
        return words

    def cycle(self, written):
        """End a cycle in which `written` came: (partition, address, word, bits that stay)."""
        self._landing.append(written)
        if len(self._landing) > 1:
            for partition, addr, word, kept in self._landing.pop(0):
                self.words[partition, addr] = self.words[partition, addr] & kept | word & ~kept

    def settle(self):
        """Let everything land."""
        self.cycle([])
        self.cycle([])


class EnginePlayer:
    """Surroundings of an engine, driven cycle by cycle.

    Subclasses say what the engine is (`component`), how long an instruction may take (`cycles_of`),
    what golden does (`golden`), and play its memories (`drive` before the outputs settle, `observe`
    after).
    """

    component = None
    golden: ClassVar[dict] = {}
    stop_cycles: ClassVar[int] = 0
    """Cycles of `stop` before it acts."""

    def __init__(self, ctx, dut, state, stall, budget):
        self.ctx, self.dut, self.stall, self.budget = ctx, dut, stall, budget
        self.rng = random.Random(SEED)
        self.config = state.config
        self.sbuf = Words(state.sbuf)
        self.seen = Observed()
        self.was_idle = False
        self.prepare(state)

    def prepare(self, state: TileState):
        """Take what the memories need from `state`."""

    def grants(self):
        """Something is granted in this cycle, at random."""
        return self.rng.random() >= self.stall

    @staticmethod
    def later():
        """Answers of reads, by the cycles that they still take."""
        return [None] * BANK_READ_CYCLES

    def begun(self):
        """Effects so far, as numbers."""
        return len(self.seen.writes), len(self.seen.signals), len(self.seen.traps)

    def offer(self, item, pc):
        port, word = self.dut.engine, item.word
        semaphore, value = item.signal or (0, 0)
        self.ctx.set(
            port.instr.payload,
            {
                "pc": pc,
                "op": word & 0xF,
                "signal": item.signal is not None,
                "signal_sem": semaphore,
                "signal_value": value,
                "payload": word >> PAYLOAD_OFFSET & ((1 << len(port.instr.p.payload)) - 1),
            },
        )
        self.ctx.set(port.instr.valid, 1)

    async def cycle(self):
        """Let a cycle pass; whether it took the instruction, and whether the engine was idle."""
        ctx, port, seen = self.ctx, self.dut.engine, self.seen
        self.drive()
        ctx.set(port.signals[0].ready, self.grants())
        taken = ctx.get(port.instr.ready) and ctx.get(port.instr.valid)
        idle, busy, stalled = ctx.get(port.idle), ctx.get(port.busy), ctx.get(port.stall)
        signal = ctx.get(port.signals[0].valid) and ctx.get(port.signals[0].ready)
        places = self.observe()
        assert not (seen.traps and (places or signal)), "an effect after the trap"
        if places:
            seen.writes.append((seen.cycles, places))
        if signal:
            update = ctx.get(port.signals[0].payload)
            seen.signals.append((seen.cycles, update.sem, update.value))
        if ctx.get(port.trap_valid):
            trap = ctx.get(port.trap)
            seen.traps.append((Trap(trap.cause), trap.pc, trap.address))
        self.sbuf.cycle(places)
        seen.busy += busy
        seen.stalled += stalled
        assert not (busy and stalled)
        assert not (idle and places)
        assert not (idle and self.was_idle and (busy or stalled)), "they may be a cycle late"
        self.was_idle = idle
        seen.cycles += 1
        assert seen.cycles < self.budget, "the engine hangs"
        await ctx.tick()
        return taken, idle

    async def execute(self, items, first_pc, stop_at):
        """Offer all items back to back; until idle, or a trap, or `stop_at`."""
        seen = self.seen
        for pc, item in enumerate(items, first_pc):
            self.offer(item, pc)
            taken = False
            while not taken:
                taken, _ = await self.cycle()
                if seen.traps or seen.cycles == stop_at:
                    self.ctx.set(self.dut.engine.instr.valid, 0)
                    return
        self.ctx.set(self.dut.engine.instr.valid, 0)
        idle = False
        while not idle and not seen.traps and seen.cycles != stop_at:
            _, idle = await self.cycle()

    async def stop(self):
        """Hold `stop` until the engine is idle: once it acts, nothing may begin meanwhile."""
        self.ctx.set(self.dut.engine.stop, 1)
        for _ in range(self.stop_cycles):
            await self.cycle()
        begun = self.begun()
        idle, waited = False, 0
        while not idle or waited < 3:
            taken, idle = await self.cycle()
            waited += 1
            assert not taken
        assert self.begun() == begun
        self.ctx.set(self.dut.engine.stop, 0)


def run(player_class, state, program, *, stall=0.0, stop_at=None, after=(), fill=1):
    """Run `program` until it is done or has trapped; then stop, and run `after` if there is any.

    With `stop_at`, stop in that cycle instead. Registers without reset begin with what `fill`
    says (`CompiledModel.run`). Fails if it takes longer than any stall explains.
    """
    model = compiled_model(player_class.component, state.config)
    items = (*program, *after)
    cycles = sum(player_class.cycles_of(item, state.config) for item in items)
    budget = round((200 + cycles) / (1 - stall) ** 2)
    players = []

    async def testbench(ctx):
        player = player_class(ctx, model.component, state, stall, budget)
        players.append(player)
        await player.execute(program, 0, stop_at)
        if player.seen.traps:
            for _ in range(_TRAP_CYCLES):
                await player.cycle()
        if after:
            await player.stop()
            trapped, player.seen.traps = player.seen.traps, []
            await player.execute(after, 100, None)
            assert not player.seen.traps
            player.seen.traps = trapped
        player.sbuf.settle()

    model.run(testbench, fill=fill)
    seen = players[0].seen
    seen.sbuf = players[0].sbuf.words
    return seen


def check(player_class, program, state, **how):
    """Run on hardware and golden: same scratchpad, same trap, the same signals in order."""
    golden, trap, signals = deepcopy(state), None, []
    for pc, item in enumerate(program):
        try:
            if item.mnemonic in player_class.golden:
                player_class.golden[item.mnemonic](golden, item.full)
        except EngineTrap as error:
            trap = (error.cause, pc, error.address)
            break
        if item.signal is not None:
            signals.append(item.signal)
    for item in how.get("after", ()):
        if item.mnemonic in player_class.golden:
            player_class.golden[item.mnemonic](golden, item.full)
        assert item.signal is None
    seen = run(player_class, state, program, **how)
    assert seen.traps == ([] if trap is None else [trap])
    assert [(sem, value) for _, sem, value in seen.signals] == signals
    wrong = np.argwhere(seen.sbuf != golden.sbuf)
    assert wrong.size == 0, (
        f"{len(wrong)} wrong words, the first (partition, address): {wrong[:4].tolist()}"
    )
    return seen
