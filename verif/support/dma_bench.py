"""Peers that drive a DMA engine, and what a program must have done.

The peers check the stream and AXI rules in every cycle: valid never drops and payloads are stable
until a stop, a trap or an error, bursts are aligned and within bounds, no more are outstanding than
the configuration says.
"""

from collections import deque
from dataclasses import dataclass, field
from random import Random

import numpy as np
from amaranth.hdl import Cat

from tegula.engine.interface import TAG_BITS
from tegula.isa.instructions import MEMORY_ADDRESS_BITS, Engine
from tegula.isa.traps import CAUSE_BITS
from verif.support.compiled import compiled_model
from verif.support.dma_models import BASE, Command, bursts_of, expand, move, pack_fields, split


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
    fill
        What registers without reset begin with (`CompiledModel.run`).
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
        fill=1,
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
        self.fill = fill
        self.outcome = Outcome()
        self.held = {}
        self.cut_short = False
        """Offers may be withdrawn: an error was answered, or the engine trapped or is stopped."""
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
        """Check that an offer is not withdrawn or changed; whether it is taken."""
        if name in self.held and not self.cut_short:
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
        self._model.run(lambda ctx: self._run(ctx, commands, budget, gap), fill=self.fill)
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
            ctx.set(engine.stop, stop > 0)
            _, _, taken, signal, trapped, state, *rest = await ctx.tick().sample(*probes)
            outcome = self.outcome
            idle, busy, stalled = state & 1, state >> 1 & 1, state >> 2 & 1
            outcome.cycles += 1
            outcome.busy += busy
            outcome.stall += stalled
            assert not (busy and stalled)
            assert outcome.cycles < budget, "the engine is not idle in time"
            self.settle(rest)
            accepted = offered and taken
            if accepted:
                assert stop < 2
                offered = 0
                queue.popleft()
            if not stop and self.hold("signals", signal & 1, ready, signal):
                sem_bits = engine.signals[0].payload.sem.shape().width
                item = signal >> 1
                outcome.signals.append((item & ((1 << sem_bits) - 1), item >> sem_bits))
                outcome.progress.append(outcome.effects)
            if trapped & 1:
                assert outcome.trap is None and not stop
                widths = [1, CAUSE_BITS, TAG_BITS, MEMORY_ADDRESS_BITS]
                outcome.trap = tuple(split(trapped, widths)[1:])
            if trapped & 1 or outcome.cycles == self.stop_at:
                # Control flushes its queues when it stops the engines.
                stop, offered, self.stop_at, self.cut_short = 1, 0, None, True
                queue.clear()
                self.held.pop("signals", None)
            elif stop == 1:
                # The engine looks at `stop` in a register.
                stop = 2
            elif stop and idle:
                assert self.quiet(), "idle with a transaction pending"
                stop, self.cut_short = 0, False
                queue.extend(self.after_stop())
            elif idle and not queue and not offered and not accepted:
                assert self.quiet(), "idle with a transaction pending"
                quiet_cycles += 1
                if quiet_cycles > gap:
                    return
            if not idle:
                quiet_cycles = 0

    def after_stop(self) -> list[Command]:
        """Commands that follow a stop; overwritten by tests."""
        return []


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
