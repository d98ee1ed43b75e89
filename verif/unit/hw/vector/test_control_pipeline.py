"""ElementPipeline against a timetable: what the lanes are told, and in which cycle."""

import random
from collections import Counter, defaultdict
from copy import deepcopy

import pytest

from tegula.arith.combine import SLOTS
from tegula.arith.fp_operation import operation_layout
from tegula.config import preset
from tegula.formats import FP32, RAW16, RAW32
from tegula.isa.operations import Operation, Reduction, Source
from tegula.memory.ports import PAIR_READ_CYCLES
from tegula.vector.control_pipeline import ElementPipeline
from tegula.vector.lane import (
    DECODE_CYCLES,
    ENTRY_CYCLES,
    OPERAND_CYCLES,
    PSUM_READ_CYCLES,
    THIRD_CYCLES,
    UNIT_CYCLES,
    VectorLane,
)
from tegula.vector.layouts import LOWEST, RANDOM_SLOTS, ZERO, Kind
from verif.support.unit_bench import simulate

CONFIG = preset("tiny", sbuf_depth=256)
FOLDED = preset("tiny", sbuf_depth=256, vector_folding=2)
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


HOLDS = {
    Operation.EQ: ("if_equal",),
    Operation.NE: ("if_less", "if_greater", "if_unordered"),
    Operation.LT: ("if_less",),
    Operation.LE: ("if_less", "if_equal"),
    Operation.GT: ("if_greater",),
    Operation.GE: ("if_greater", "if_equal"),
}
"""For which orders of its operands a comparison holds."""

SUMS = {Operation.ADD: (), Operation.SUB: ("negate_b",), Operation.RSUB: ("negate_a",)}
MOVES = {
    Operation.PASS: (),
    Operation.ABS: ("absolute",),
    Operation.MAX: ("extremum",),
    Operation.MIN: ("extremum", "minimum"),
    Operation.SELECT: ("selects",),
    Operation.MERGE: ("selects", "merges"),
}


def properties(op):
    """Names of the bits that an operation sets in `operation_layout`."""
    if op in SUMS:
        return {*SUMS[op]}
    if op == Operation.MUL:
        return {"negate_b"}
    if op in MOVES:
        return {"keep", "negate_b", "moves", *MOVES[op]}
    return {"keep", "negate_b", *HOLDS[op]}


def part_of(issue):
    return issue["ring"]["exit"]["part"]


def assert_operation(operation, op):
    """The properties are those of `op`, and no other."""
    names = [name for name, _ in operation_layout()]
    assert {name for name in names if getattr(operation, name)} == properties(op)


class Timetable:
    """Issues random items in their rhythm; knows what each cycle must bring."""

    def __init__(self, units, interval, reduces, config=CONFIG):
        self.units, self.interval, self.reduces = units, interval, reduces
        self.dut, self.rng = ElementPipeline(config), random.Random(SEED)
        self.parts, self.part = config.vector_folding, 0
        self.due = defaultdict(dict)
        self.begun = False
        self.lowest, self.reached = 0, set()
        self.slots, self.thirds = {}, []
        self.checked = Counter()

    def next_issue(self):
        """An item; of a reduced element, the next of the partitions that share a lane."""
        if self.part:
            self.item = deepcopy(self.item)
        else:
            self.item = self.random_issue()
        exit_ = self.item["ring"]["exit"]
        exit_["part"] = self.part
        if self.item["kind"] in SCALARS or not self.reduces:
            exit_["part"] = self.rng.randrange(self.parts)
        else:
            self.part = (self.part + 1) % self.parts
        return self.item

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
            "self0": rng.randrange(2),
            "self1": rng.randrange(2),
            "reduction": rng.choice(kinds) if self.reduces else Reduction.NONE,
            "begin": int(self.reduces and (not self.begun or rng.random() < 0.05)),
            "partial": rng.randrange(8),
            "exit": exit_ | ({"stochastic": 0} if self.reduces else {}),
        }
        self.begun |= kind not in SCALARS
        flags = ("late", "y0", "y1", "draw", "given")
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
        self.due[cycle + PSUM_READ_CYCLES]["psum"] = issue
        self.due[cycle + PAIR_READ_CYCLES]["arrival"] = issue
        self.due[cycle + DECODE_CYCLES]["decode"] = issue
        self.due[cycle + OPERAND_CYCLES]["operands"] = issue
        entry = cycle + ENTRY_CYCLES
        self.due[entry]["entry"] = issue
        if issue["kind"] in SCALARS:
            return
        steps = issue["ring"]["route"]["steps"]
        places = ["add" if step == len(self.units) else self.units[step] for step in range(steps)]
        for step, unit in enumerate([*places, "cast"]):
            before = entry + step * UNIT_CYCLES
            source = places[step - 1] if step else "entry"
            if issue["kind"] != Kind.STATE_SAVE:
                self.due[before]["takes", source] = unit
            if unit != "cast":
                self.due[before + 1]["step", step] = issue
        if steps > 1 and len(self.units) > 1 and not issue["ring"]["self1"]:
            self.due[entry + 1 + THIRD_CYCLES]["third", places[1]] = issue
        to_cast = entry + 1 + steps * UNIT_CYCLES
        self.due[to_cast]["to_cast"] = issue
        self.due[to_cast + VectorLane.CAST_CYCLES]["output"] = issue

    def check(self, ctx, cycle):
        now, controls = self.due.pop(cycle, {}), self.dut.controls
        if "arrival" in now:
            arrival, issue = ctx.get(controls.arrival), now["arrival"]
            assert arrival.late == issue["late"]
            assert arrival.part == part_of(issue)
        if "psum" in now:
            assert ctx.get(controls.psum.en) == (now["psum"]["source"] == Source.PSUM)
            assert ctx.get(controls.psum.part) == part_of(now["psum"])
        if "decode" in now:
            self.check_decode(ctx, now["decode"])
        self.check_operands(ctx.get(controls.operands), now.get("operands"))
        self.check_entry(ctx.get(controls.entry), now.get("entry"))
        self.check_takes(ctx, now)
        self.check_units(ctx, {key[1]: now[key] for key in now if key[0] == "step"})
        if "to_cast" in now:
            self.check_to_cast(ctx.get(controls.to_cast), now["to_cast"])
        assert ctx.get(self.dut.output_valid) == ("output" in now)
        if "output" in now:
            output, wanted = ctx.get(self.dut.output), now["output"]["ring"]["exit"]
            assert {name: getattr(output, name) for name in wanted} == wanted
        self.checked.update(key if isinstance(key, str) else key[0] for key in now)

    def check_decode(self, ctx, issue):
        """How words are read; x is 0 if it is of another source."""
        for name in "xy":
            code, decode = issue[f"{name}_format"], ctx.get(getattr(self.dut.controls.decode, name))
            whole, raw16 = code in (FP32.code, RAW32), code == RAW16
            narrow = sum((code == fmt.code) << i for i, fmt in enumerate(CONFIG.fp8_formats))
            wanted = (whole, whole or raw16, not (whole or raw16 or narrow), narrow)
            if name == "x" and issue["source"] != Source.SBUF:
                wanted = (0, 0, 0, 0)
            assert (decode.upper, decode.lower, decode.raised, decode.narrow) == wanted

    def check_operands(self, operands, issue):
        """The operand that comes from no memory; y only where there is an item that has it."""
        if issue is None:
            assert (operands.y0, operands.y1) == (0, 0)
            return
        assert (operands.y0, operands.y1) == (issue["y0"], issue["y1"])
        assert operands.part == part_of(issue)
        given = {Source.INDEX: issue["value"], Source.RANDOM: FP32.one}
        assert operands.value == given.get(issue["source"], 0)

    def check_takes(self, ctx, now):
        """Each unit takes the operand or the result that it needs in the next cycle, and no other.

        What leaves the adder goes to the cast too, unless that takes another.
        """
        controls, bits = self.dut.controls, {"add": 1, "mul": 2, "cast": 4}
        takes = {"entry": controls.entry, "add": controls.adder, "mul": controls.multiplier}
        seen = {source: ctx.get(part.takes) for source, part in takes.items()}
        wanted = {source: bits.get(now.get(("takes", source)), 0) for source in takes}
        number = ctx.get(controls.entry.number)
        others = number or (wanted["entry"] | wanted["mul"]) & bits["cast"]
        wanted["add"] |= 0 if others else bits["cast"]
        assert seen == wanted
        entry = ctx.get(controls.entry)
        self.thirds.append(entry.third_write)
        if len(self.thirds) > 1 + THIRD_CYCLES:
            assert entry.third_read == self.thirds[-2 - THIRD_CYCLES]
            assert entry.third_read not in self.thirds[-1 - THIRD_CYCLES :]
        third = {("third", unit): bits[unit] for unit in ("add", "mul")}
        assert entry.third == sum(bit for key, bit in third.items() if key in now)

    def check_entry(self, entry, issue):
        acts = ("scalar0", "scalar1", "moves", "step", "load", "keep", "number", "second")
        wanted = dict.fromkeys(acts, 0)
        if issue is not None:
            kind, part = issue["kind"], 1 << part_of(issue)
            wanted["scalar0"], wanted["scalar1"] = (part * (kind == scalar) for scalar in SCALARS)
            wanted["step"] = issue["draw"]
            wanted["load"] = kind == Kind.STATE_LOAD
            moves = issue["draw"] or kind in (Kind.STATE_LOAD, Kind.STATE_SAVE)
            wanted["moves"] = part * moves
            wanted["keep"] = kind not in SCALARS and issue["ring"]["exit"]["stochastic"]
            wanted["number"] = kind == Kind.STATE_SAVE
            if kind not in SCALARS and self.units and not issue["ring"]["self0"]:
                wanted["second"] = {"add": 1, "mul": 2}[self.units[0]]
            for name in ("y1", "given"):
                assert getattr(entry, name) == issue[name], name
            assert entry.uniform == (issue["source"] == Source.RANDOM)
            assert entry.part == part_of(issue)
        assert {name: getattr(entry, name) for name in acts} == wanted
        if wanted["keep"]:
            assert entry.slot not in self.slots.values(), "random bits are overwritten"
            self.slots[id(issue)] = entry.slot

    def check_units(self, ctx, steps):
        """Each step in its unit; a reduction as the last one of the adder, on its partial."""
        controls, partial = self.dut.controls, ctx.get(self.dut.controls.partial)
        adder = ctx.get(controls.adder)
        reduced = False
        for step, issue in steps.items():
            ring = issue["ring"]
            if step == len(self.units):
                total = ring["reduction"] == Reduction.SUM
                assert_operation(adder.operation, Operation.ADD if total else Operation.MAX)
                assert adder.magnitude == (ring["reduction"] == Reduction.AMAX)
                self.check_partial(partial, ring)
                reduced = True
                unit = adder
            else:
                unit = ctx.get(
                    getattr(controls, {"mul": "multiplier"}.get(self.units[step], "adder"))
                )
                assert_operation(unit.operation, ring[f"op{step}"])
            assert unit.same == (step < len(self.units) and ring[f"self{step}"])
        assert (partial.addr != ZERO) <= reduced

    def check_partial(self, partial, ring):
        slot = ring["partial"] + SLOTS * ring["exit"]["part"]
        if ring["begin"] and not ring["exit"]["part"]:
            self.reached, self.lowest = set(), ring["reduction"] == Reduction.MAX
        if slot in self.reached:
            assert partial.addr == slot
        else:
            assert partial.addr == (LOWEST if self.lowest else ZERO)
        self.reached.add(slot)

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
        slot = ring["partial"] + SLOTS * wanted["part"]
        self.writes = (1, slot) if write else (0, None)

    async def run(self, ctx, cycles):
        dut, rng = self.dut, self.rng
        await ctx.tick()  # In the first cycle nothing takes the adder's result.
        for cycle in range(cycles + ENTRY_CYCLES + 3 * UNIT_CYCLES + VectorLane.CAST_CYCLES + 2):
            self.writes = (0, None)
            issues = cycle < cycles and cycle % self.interval == 0 and rng.random() < 0.8
            ctx.set(dut.issue_valid, issues)
            if issues:
                issue = self.next_issue()
                ctx.set(dut.issue, issue)
                self.plan(cycle, issue)
            self.check(ctx, cycle)
            write, at = self.writes
            assert ctx.get(dut.controls.partial.write) == write
            if write:
                assert ctx.get(dut.controls.partial.write_addr) == at
            await ctx.tick()
        assert not self.due and not self.slots
        assert ctx.get(dut.drained)


@pytest.mark.parametrize("config", [CONFIG, FOLDED], ids=["a lane each", "two share a lane"])
@pytest.mark.parametrize("name", ROUTES)
def test_lanes_are_told_each_thing_in_its_cycle(name, config):
    units, interval, reduces = ROUTES[name]
    table = Timetable(units, interval, reduces, config)

    async def testbench(ctx):
        await table.run(ctx, 150 * interval)

    simulate(table.dut, testbench)
    assert table.checked["output"] > 60
    assert table.checked["step"] == table.checked["output"] * (len(units) + reduces)


def test_random_bits_have_a_place_for_as_long_as_an_element_takes_to_the_cast():
    assert 1 + 2 * UNIT_CYCLES < RANDOM_SLOTS
    assert RANDOM_SLOTS & RANDOM_SLOTS - 1 == 0, "the slots are counted round"
