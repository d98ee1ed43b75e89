"""Counters and the trap record, each by itself."""

import random
from functools import partial

from tegula.control.counters import CLEAR_CYCLES, EVENTS, Counters
from tegula.control.trap_record import TrapRecord
from tegula.isa.instructions import ENGINES
from verif.support import unit_bench


def simulate(dut, testbench):
    unit_bench.simulate(dut, partial(testbench, dut=dut))


def test_every_counter_counts_its_own_strobe_while_running():
    rng = random.Random(1)
    dut = Counters()
    names = {
        f"{e.name.lower()}_{event}": (event, i) for i, e in enumerate(ENGINES) for event in EVENTS
    }
    totals = dict.fromkeys([*names, "read_beats", "write_beats"], 0)
    checked = 0

    async def testbench(ctx, dut):
        nonlocal checked
        cycles, counted, cleared = 0, dict.fromkeys(totals, 0), False
        for cycle in range(500):
            clear = cycle == 0 or rng.random() < 0.01
            run = not clear and rng.random() < 0.8
            values = {event: rng.getrandbits(len(ENGINES)) for event in EVENTS}
            values |= {"read_beat": rng.getrandbits(1), "write_beat": rng.getrandbits(1)}
            for name, value in (values | {"clear": clear, "run": run}).items():
                ctx.set(getattr(dut, name), value)
            await ctx.tick()
            # What was given in the cycle before is counted in this one.
            for name, value in counted.items():
                totals[name] = 0 if cleared else totals[name] + value
            cycles = run + (CLEAR_CYCLES + 1 if cleared else cycles)
            cleared = clear
            counted = {name: run and values[event] >> i & 1 for name, (event, i) in names.items()}
            counted |= {f"{way}_beats": run and values[f"{way}_beat"] for way in ("read", "write")}
            assert ctx.get(dut.cycles) == cycles
            assert {name: ctx.get(getattr(dut, name)) for name in totals} == totals
            checked += 1

    simulate(dut, testbench)
    assert checked == 500


def test_the_first_trap_of_the_first_source_is_kept_until_cleared():
    rng = random.Random(2)
    taken = 0

    async def testbench(ctx, dut):
        nonlocal taken
        record = (0, 0, 0, 0, 0)
        for _ in range(400):
            clear, enable = rng.random() < 0.3, rng.random() < 0.5
            rows = [
                (rng.random() < 0.1, *map(rng.getrandbits, (4, 4, 21, 48))) for _ in dut.sources
            ]
            for source, row in zip(dut.sources, rows, strict=True):
                names = ("valid", "cause", "engine", "pc", "address")
                ctx.set(source, dict(zip(names, row, strict=True)))
            ctx.set(dut.clear, clear)
            ctx.set(dut.enable, enable)
            first = next((row[1:] for row in rows if row[0]), None)
            await ctx.tick()
            if clear:
                record = (0, 0, 0, 0, 0)
            elif first and enable and not record[0]:
                cause, engine, pc, address = first
                record = (1, cause, engine, pc * 16, address)
                taken += 1
            outputs = (dut.taken, dut.cause, dut.engine, dut.pc_bytes, dut.address)
            assert tuple(map(ctx.get, outputs)) == record

    simulate(TrapRecord(5), testbench)
    assert taken > 20
