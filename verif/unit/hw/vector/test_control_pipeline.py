"""ElementPipeline against a timetable: what the lanes are told, and in which cycle."""

import random
from collections import Counter, defaultdict

import pytest

from tegula.config import preset
from tegula.isa.operations import Operation, Reduction, Source
from tegula.memory.ports import PAIR_READ_CYCLES
from tegula.vector.control_pipeline import ElementPipeline
from tegula.vector.lane import ENTRY_CYCLES, UNIT_CYCLES, VectorLane
from tegula.vector.layouts import RANDOM_SLOTS, Kind
from verif.support.unit_bench import simulate

CONFIG = preset("tiny", sbuf_depth=256)
SEED = 54
SCALARS = (Kind.SCALAR0, Kind.SCALAR1)

ROUTES = {
    "no step": ((), 1, False),
    "multiplier": (("mul",), 1, False),
    "adder": (("add",), 1, False),
    "multiplier, adder": (("mul", "add"), 1, False),
    "adder, multiplier": (("add", "mul"), 1, False),
    "two products": (("mul", "mul"), 2, False),
    "two sums": (("add", "add"), 2, False),
    "reduced": ((), 1, True),
    "product reduced": (("mul",), 1, True),
    "sum reduced": (("add",), 2, True),
    "two products reduced": (("mul", "mul"), 2, True),
    "two sums reduced": (("add", "add"), 3, True),
}
"""Units of the steps, the cycles between elements, and whether these are reduced, a last step of
the adder."""


class Timetable:
    """Issues random items in their rhythm; knows what each cycle must bring."""

    def __init__(self, units, interval, reduces):
        self.units, self.interval, self.reduces = units, interval, reduces
        self.dut, self.rng = ElementPipeline(CONFIG), random.Random(SEED)
        self.due = defaultdict(dict)
        self.begun = False
        self.lowest, self.reached = 0, set()
        self.slots = {}
        self.checked = Counter()

    def random_issue(self):
        rng = self.rng
        kind = rng.choice((*SCALARS, *[Kind.ELEMENT] * 6))
        if not self.units and not self.reduces:
            kind = rng.choice((kind, Kind.STATE_LOAD, Kind.STATE_SAVE))
        route = {"steps": len(self.units) + self.reduces}
        for place in (0, 1):
            used = place < len(self.units)
            route[f"multiplier{place}"] = int(used and self.units[place] == "mul")
        exit_ = {"format": rng.randrange(8), "addr": rng.randrange(256), "last": rng.randrange(2)}
        exit_ |= {"rows": rng.randrange(5), "partition": rng.randrange(4), "line": rng.randrange(2)}
        exit_ |= {"saturate": rng.randrange(2), "stochastic": rng.randrange(2)}
        kinds = [Reduction.SUM, Reduction.MAX, Reduction.AMAX]
        ring = {
            "route": route,
            "op0": rng.choice(list(Operation)),
            "op1": rng.choice(list(Operation)),
            "self1": rng.randrange(2),
            "reduction": rng.choice(kinds) if self.reduces else Reduction.NONE,
            "begin": int(self.reduces and (not self.begun or rng.random() < 0.05)),
            "partial": rng.randrange(8),
            "exit": exit_ | ({"stochastic": 0} if self.reduces else {}),
        }
        self.begun |= kind not in SCALARS
        flags = ("late", "y0", "self0", "y1", "draw", "given")
        return {name: rng.randrange(2) for name in flags} | {
            "kind": kind,
            "x_format": rng.randrange(8),
            "y_format": rng.randrange(8),
            "source": rng.choice(list(Source)),
            "value": rng.getrandbits(32),
            "ring": ring,
        }

    def plan(self, cycle, issue):
        """Enter what follows from an issue into the timetable."""
        self.due[cycle + PAIR_READ_CYCLES]["arrival"] = issue
        entry = cycle + ENTRY_CYCLES
        self.due[entry]["entry"] = issue
        if issue["kind"] in SCALARS:
            return
        for step in range(issue["ring"]["route"]["steps"]):
            self.due[entry + 1 + step * UNIT_CYCLES]["step", step] = issue
        to_cast = entry + 1 + issue["ring"]["route"]["steps"] * UNIT_CYCLES
        self.due[to_cast]["to_cast"] = issue
        self.due[to_cast + VectorLane.CAST_CYCLES]["output"] = issue

    def check(self, ctx, cycle):
        now, controls = self.due.pop(cycle, {}), self.dut.controls
        if "arrival" in now:
            arrival, issue = ctx.get(controls.arrival), now["arrival"]
            for name in ("late", "x_format", "y_format"):
                assert getattr(arrival, name) == issue[name]
        self.check_entry(ctx.get(controls.entry), now.get("entry"))
        self.check_units(ctx, {key[1]: now[key] for key in now if key[0] == "step"})
        if "to_cast" in now:
            self.check_to_cast(ctx.get(controls.to_cast), now["to_cast"])
        assert ctx.get(self.dut.output_valid) == ("output" in now)
        if "output" in now:
            output, wanted = ctx.get(self.dut.output), now["output"]["ring"]["exit"]
            assert {name: getattr(output, name) for name in wanted} == wanted
        self.checked.update(key if isinstance(key, str) else key[0] for key in now)

    def check_entry(self, entry, issue):
        acts = ("scalar0", "scalar1", "step", "load", "rotate", "keep")
        wanted = dict.fromkeys(acts, 0)
        if issue is not None:
            kind = issue["kind"]
            wanted["scalar0"], wanted["scalar1"] = (kind == scalar for scalar in SCALARS)
            wanted["step"] = issue["draw"]
            wanted["load"] = kind == Kind.STATE_LOAD
            wanted["rotate"] = kind == Kind.STATE_SAVE
            wanted["keep"] = kind not in SCALARS and issue["ring"]["exit"]["stochastic"]
            for name in ("source", "value", "y0", "self0", "y1", "given"):
                assert getattr(entry, name) == issue[name], name
            assert entry.number == (kind == Kind.STATE_SAVE)
        assert {name: getattr(entry, name) for name in acts} == wanted
        if wanted["keep"]:
            assert entry.slot not in self.slots.values(), "random bits are overwritten"
            self.slots[id(issue)] = entry.slot

    def check_units(self, ctx, steps):
        """Each step in its unit; a reduction as the last one of the adder, on its partial."""
        controls, partial = self.dut.controls, ctx.get(self.dut.controls.partial)
        adder = ctx.get(controls.adder)
        assert adder.held == 0
        reduced = False
        for step, issue in steps.items():
            ring = issue["ring"]
            if step == len(self.units):
                total = ring["reduction"] == Reduction.SUM
                assert adder.op == (Operation.ADD if total else Operation.MAX)
                assert adder.magnitude == (ring["reduction"] == Reduction.AMAX)
                self.check_partial(partial, ring)
                reduced = True
                unit = adder
            else:
                unit = ctx.get(
                    getattr(controls, {"mul": "multiplier"}.get(self.units[step], "adder"))
                )
                assert unit.op == ring[f"op{step}"]
            assert unit.first == (step == 0)
            if step:
                assert unit.after_adder == (self.units[step - 1] == "add")
            if step == 1 and step < len(self.units):
                assert unit.twice == ring["self1"]
        assert adder.reduce == reduced

    def check_partial(self, partial, ring):
        if ring["begin"]:
            self.reached, self.lowest = set(), ring["reduction"] == Reduction.MAX
        assert partial.addr == ring["partial"]
        assert partial.identity == (ring["partial"] not in self.reached)
        if partial.identity:
            assert partial.lowest == self.lowest
        self.reached.add(ring["partial"])

    def check_to_cast(self, to_cast, issue):
        ring = issue["ring"]
        wanted = ring["exit"]
        assert to_cast.steps == (ring["route"]["steps"] > 0)
        if to_cast.steps:
            last = "add" if self.reduces else self.units[-1]
            assert to_cast.from_adder == (last == "add")
        for name in ("stochastic", "saturate", "format"):
            assert getattr(to_cast, name) == wanted[name]
        if wanted["stochastic"]:
            assert to_cast.slot == self.slots.pop(id(issue)), "the random bits of another element"
        write = self.reduces and issue["kind"] not in SCALARS
        self.writes = (1, ring["partial"]) if write else (0, None)

    async def run(self, ctx, cycles):
        dut, rng = self.dut, self.rng
        early = []
        for cycle in range(cycles + ENTRY_CYCLES + 3 * UNIT_CYCLES + VectorLane.CAST_CYCLES + 2):
            self.writes = (0, None)
            issues = cycle < cycles and cycle % self.interval == 0 and rng.random() < 0.8
            ctx.set(dut.issue_valid, issues)
            if issues:
                issue = self.random_issue()
                ctx.set(dut.issue, issue)
                self.plan(cycle, issue)
            ctx.set(dut.x_early, rng.randrange(2))
            early.append(ctx.get(dut.x_early))
            if cycle >= PAIR_READ_CYCLES:
                assert ctx.get(dut.controls.arrival.hold) == early[cycle - PAIR_READ_CYCLES]
            self.check(ctx, cycle)
            write, at = self.writes
            assert ctx.get(dut.controls.partial.write) == write
            if write:
                assert ctx.get(dut.controls.partial.write_addr) == at
            await ctx.tick()
        assert not self.due and not self.slots
        assert ctx.get(dut.drained)


@pytest.mark.parametrize("name", ROUTES)
def test_lanes_are_told_each_thing_in_its_cycle(name):
    units, interval, reduces = ROUTES[name]
    table = Timetable(units, interval, reduces)

    async def testbench(ctx):
        await table.run(ctx, 150 * interval)

    simulate(table.dut, testbench)
    assert table.checked["output"] > 60
    assert table.checked["step"] == table.checked["output"] * (len(units) + reduces)


def test_random_bits_have_a_place_for_as_long_as_an_element_takes_to_the_cast():
    assert 1 + 2 * UNIT_CYCLES < RANDOM_SLOTS
    assert RANDOM_SLOTS & RANDOM_SLOTS - 1 == 0, "the slots are counted round"
