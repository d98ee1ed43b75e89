"""A front end between a host, a program memory and engines that are modelled."""

import random
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import cache, partial

from amaranth.sim import Simulator

from tegula.control.front_end import Control
from tegula.isa.codec import encode
from tegula.isa.instructions import ENGINES, Engine
from tegula.isa.registers import CONTROL_START, REGISTERS, Status, register_offset
from tegula.isa.traps import Trap
from verif.support.engine_model import Accepted, EngineModel

PROGRAM = 0x1_0040
WINDOW = (0x1_0000, 0x4_FFFF)
DONE = 1 << Status.DONE
TRAPPED = 1 << Status.TRAPPED
NO_TRAP = (Trap.NONE, Engine.CONTROL, 0, 0)


@dataclass
class FrontEndOutcome:
    """Registers after a program, and observations of the bench."""

    status: int
    trap: tuple[Trap, Engine, int, int]
    registers: dict[str, int]
    cycles: int
    accepted: dict[Engine, list[int]] = field(default_factory=dict)
    busy: Counter = field(default_factory=Counter)
    bursts: list[tuple[int, int]] = field(default_factory=list)
    beats: int = 0


class Outputs:
    """Signals that a process drives; only changes reach the simulator."""

    def __init__(self, **signals):
        self.signals, self.values = signals, dict.fromkeys(signals, 0)

    def set(self, ctx, **values):
        for name, value in values.items():
            if self.values[name] != value:
                self.values[name] = value
                ctx.set(self.signals[name], value)


class SimulatedEngine(EngineModel):
    """An engine at the ports of a simulated front end."""

    def __init__(self, bench, engine):
        rng = random.Random(f"{bench.seed} {engine.name}")
        super().__init__(engine, (0, 0, 1, 4, 15), rng.randrange)
        self.bench, self.rng = bench, rng
        self.port = port = getattr(bench.dut, engine.name.lower())
        self.inputs = [port.stop, port.instr.valid, port.instr.payload]
        self.inputs += [stream.ready for stream in port.signals]
        self.outputs = Outputs(
            idle=port.idle, busy=port.busy, ready=port.instr.ready, trap_valid=port.trap_valid
        )
        self.streams = [
            Outputs(valid=stream.valid, sem=stream.payload.sem, value=stream.payload.value)
            for stream in port.signals
        ]

    async def run(self, ctx):
        self.outputs.set(ctx, idle=1)
        async for _, _, stop, valid, item, *readies in ctx.tick().sample(*self.inputs):
            self._note(stop, valid, item, readies)
            trap = self.cycle(stop)
            if trap is not None:
                ctx.set(self.port.trap.as_value(), trap)
            accepts = self.has_room and not stop
            self.outputs.set(
                ctx,
                trap_valid=int(trap is not None),
                busy=int(self.busy),
                idle=int(self.idle),
                ready=int(accepts and self.rng.random() >= self.bench.stall),
            )
            for queue, stream in zip(self.outgoing, self.streams, strict=True):
                stream.set(ctx, valid=int(bool(queue)))
                if queue:
                    stream.set(ctx, sem=queue[0][0], value=queue[0][1])

    def _note(self, stop, valid, item, readies):
        """Account for what was transferred at this edge."""
        bench = self.bench
        bench.busy[self.engine] += self.outputs.values["busy"]
        for port, (stream, ready) in enumerate(zip(self.streams, readies, strict=True)):
            if ready and stream.values["valid"]:
                bench.events.append(("signal", *self.signal_taken(port)))
        if valid and self.outputs.values["ready"]:
            assert not stop
            fields = {name: int(item[name]) for name, _ in item.shape()}
            item = Accepted(engine=self.engine, place=fields.pop("pc"), **fields)
            self.accept(item)
            bench.accepted[self.engine].append(item.pc)
            bench.events.append(("accept", item.pc))


class Rig:
    """A front end in a simulator: one a class and configuration, since it takes long to make."""

    def __init__(self, front_end, config):
        self.dut, self.bench = front_end(config), None
        self.simulator = Simulator(self.dut)
        self.simulator.add_clock(1e-8)
        self.simulator.add_testbench(self._scenario)
        self.simulator.add_process(self._memory)
        for engine in ENGINES:
            self.simulator.add_process(partial(self._engine, engine=engine))

    async def _scenario(self, ctx):
        await self.bench.play(ctx)

    async def _memory(self, ctx):
        await self.bench.serve(ctx)

    async def _engine(self, ctx, engine):
        await self.bench.engines[engine].run(ctx)

    def run(self, bench):
        """Run the scenario of `bench` from reset."""
        if self.bench is not None:
            self.simulator.reset()
        self.bench = bench
        self.simulator.run()


_rig = cache(Rig)


class ControlBench:
    """Runs scenarios: coroutines that get the bench and call `run` and `access`.

    Parameters
    ----------
    stall
        Probability that a channel or an engine is not ready in a cycle.
    latency
        Cycles from a burst's request to its first beat.
    front_end
        Class of the front end.
    """

    def __init__(self, config, scenario, *, seed=0, stall=0.0, latency=3, front_end=Control):
        self.config, self.seed, self.stall, self.latency = config, seed, stall, latency
        self.rng = random.Random(seed)
        rig = _rig(front_end, config)
        self.dut = rig.dut
        self.engines = {engine: SimulatedEngine(self, engine) for engine in ENGINES}
        self.memory, self.errors = {}, {}
        self.cycle = self.beats = 0
        self.events, self.bursts = [], []
        self.accepted = {engine: [] for engine in ENGINES}
        self.busy = Counter()
        self.finished = False
        self.scenario = scenario
        rig.run(self)
        assert self.finished

    async def play(self, ctx):
        """The scenario, after a cycle in which the peers drive their first outputs."""
        self.ctx = ctx
        await self.tick()
        await self.scenario(self)
        self.finished = True

    async def tick(self, *signals):
        """One cycle; the values of `signals` before its edge."""
        _, _, *values = await self.ctx.tick().sample(*signals)
        self.cycle += 1
        return values

    async def serve(self, ctx):
        """The program memory; drives the read strobe of the counters too."""
        dut, queue, held, cycle = self.dut, deque(), None, 0
        rng = random.Random(f"{self.seed} memory")
        outputs = Outputs(ready=dut.ar.ready, valid=dut.r.valid, strobe=dut.beats.read)
        data, response = dut.r.payload.data, dut.r.payload.resp
        step = self.config.bus_bytes
        inputs = (dut.ar.valid, dut.ar.payload.addr, dut.ar.payload.len, dut.r.ready)
        async for _, _, valid, addr, length, r_ready in ctx.tick().sample(*inputs):
            assert r_ready, "read data was refused"
            assert held is None or (valid and held == (addr, length)), "a request was taken back"
            accepted = valid and outputs.values["ready"]
            held = (addr, length) if valid and not accepted else None
            if accepted:
                self.bursts.append((addr, length + 1))
                queue.extend((cycle + self.latency, addr + i * step) for i in range(length + 1))
            cycle += 1
            beat = int(bool(queue) and queue[0][0] <= cycle and rng.random() >= self.stall)
            outputs.set(ctx, ready=int(rng.random() >= self.stall), valid=beat, strobe=beat)
            if beat:
                _, address = queue.popleft()
                word = bytes(self.memory.get(address + i, 0xEE) for i in range(step))
                ctx.set(data, int.from_bytes(word, "little"))
                ctx.set(response, self.errors.get(address, 0))
                self.beats += 1

    async def write(self, name, value, strobe=15):
        """Write a register; returns the cycle of the later handshake."""
        bus, ctx = self.dut.s_axil, self.ctx
        ctx.set(bus.awaddr, register_offset(name))
        ctx.set(bus.wdata, value)
        ctx.set(bus.wstrb, strobe)
        ctx.set(bus.bready, 1)
        ctx.set(bus.awvalid, 1)
        ctx.set(bus.wvalid, 1)
        assert all(await self.tick(bus.awready, bus.wready))
        handshake = self.cycle - 1
        ctx.set(bus.awvalid, 0)
        ctx.set(bus.wvalid, 0)
        while not (await self.tick(bus.bvalid))[0]:
            pass
        return handshake

    async def read(self, name):
        bus, ctx = self.dut.s_axil, self.ctx
        ctx.set(bus.araddr, register_offset(name))
        ctx.set(bus.rready, 1)
        ctx.set(bus.arvalid, 1)
        await self.tick()
        ctx.set(bus.arvalid, 0)
        while True:
            valid, data = await self.tick(bus.rvalid, bus.rdata)
            if valid:
                return data

    async def prepare(self, words, *, program=PROGRAM, size=None, window=WINDOW, watchdog=200):
        """Put a program into memory and the registers."""
        image = b"".join(words)
        self.memory = {program + i: byte for i, byte in enumerate(image)}
        await self.write("PROGRAM_LOW", program & 0xFFFF_FFFF)
        await self.write("PROGRAM_HIGH", program >> 32)
        await self.write("PROGRAM_BYTES", len(image) if size is None else size)
        for name, address in zip(("BASE", "LAST"), window, strict=True):
            await self.write(f"WINDOW_{name}_LOW", address & 0xFFFF_FFFF)
            await self.write(f"WINDOW_{name}_HIGH", address >> 32)
        await self.write("WATCHDOG", watchdog)

    async def run(self, words, *, meanwhile=None, budget=3000, **options):
        """Run a program until the interrupt; `meanwhile` is a coroutine called after the start."""
        await self.prepare(words, **options)
        self.events.clear()
        self.bursts.clear()
        self.busy.clear()
        for accepted in self.accepted.values():
            accepted.clear()
        beats = self.beats
        self.started = await self.write("CONTROL", CONTROL_START)
        if meanwhile:
            await meanwhile()
        while not (await self.tick(self.dut.irq))[0]:
            assert self.cycle - self.started < budget, "no interrupt"
        cycles = self.cycle - 1 - self.started
        outcome = await self.outcome(cycles)
        outcome.beats = self.beats - beats
        await self.write("IRQ", 1)
        assert (await self.tick(self.dut.irq))[0] == 0
        return outcome

    async def outcome(self, cycles):
        names = [r.name for r in REGISTERS if r.access == "ro"]
        registers = {name: await self.read(name) for name in names}
        address = registers["TRAP_ADDR_HIGH"] << 32 | registers["TRAP_ADDR_LOW"]
        return FrontEndOutcome(
            registers["STATUS"],
            (
                Trap(registers["TRAP_CAUSE"]),
                Engine(registers["TRAP_ENGINE"]),
                registers["TRAP_PC"],
                address,
            ),
            registers,
            cycles,
            {engine: list(positions) for engine, positions in self.accepted.items()},
            Counter(self.busy),
            list(self.bursts),
        )


def sync(config, engine, *, wait=None, consume=0, signal=None):
    """A sync instruction; `wait` and `signal` are (semaphore, value)."""
    fields = {}
    if wait:
        fields |= {"wait": 1, "wait_sem": wait[0], "wait_value": wait[1], "consume": consume}
    if signal:
        fields |= {"signal": 1, "signal_sem": signal[0], "signal_value": signal[1]}
    return encode(f"{engine.name.lower()}.sync", config, **fields)


HALT = encode("halt")


async def run_good_program(bench):
    """A program that uses all engines ends well, whatever came before it."""
    config = bench.config
    for engine in bench.engines.values():
        engine.traps = {}
    bench.errors = {}
    words = [sync(config, engine, signal=(3, 1)) for engine in ENGINES]
    words += [sync(config, Engine.LOAD, wait=(3, 5), consume=1), HALT]
    outcome = await bench.run(words)
    assert (outcome.status, outcome.trap) == (DONE, NO_TRAP)
    positions = {engine: [pc] for pc, engine in enumerate(ENGINES)}
    positions[Engine.LOAD].append(len(ENGINES))
    assert outcome.accepted == positions
