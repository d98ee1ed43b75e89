"""ElementSequencer alone: what it asks for and issues, item by item, against plain Python."""

import random
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest

from tegula.config import preset
from tegula.formats import FP32, RAW32
from tegula.isa.instructions import PAYLOAD_OFFSET
from tegula.isa.operations import Operand, Operation, Reduction, Rounding, Source
from tegula.vector.layouts import Kind
from tegula.vector.sequencer import ElementSequencer
from verif.support.engine_bench import Item
from verif.support.unit_bench import simulate

CONFIG = preset("tiny", sbuf_depth=1024, psum_banks=4, psum_bank_words=32)
NARROW = preset("small", axi_data_width=64, sbuf_depth=1024, psum_banks=4, psum_bank_words=32)
FOLDED = replace(NARROW, vector_folding=2)
UNARY = (Operation.PASS, Operation.ABS)
WIDE = (FP32.code, RAW32)
SEED = 53
_LANE_CYCLES = 9
"""How long the bench says that an item is under way."""


def walk(rng, count, depth, unit):
    """Start and stride of `count` addresses below `depth`, multiples of `unit`, down or up."""
    most = min(7, (depth // unit - 1) // max(1, count - 1))
    stride = rng.randint(-most, most)
    reach = stride * (count - 1)
    start = rng.randint(max(0, -reach), depth // unit - 1 - max(0, reach))
    return start * unit, stride * unit


def random_item(rng, config):
    """A vector.compute that traps nowhere, or a load or save of the generators."""
    if rng.random() < 0.08:
        addr = 2 * rng.randrange(config.sbuf_depth // 2 - 4)
        return Item("vector.generator", {"save": rng.randrange(2), "addr": addr})
    columns = rng.randint(1, 20)
    fields = {name: rng.randrange(8) for name in ("format", "x_format", "y_format")}
    wide = fields["format"] in WIDE
    fields |= {
        "rows": rng.randint(1, config.n),
        "columns": columns,
        "x_source": rng.choice(list(Source)),
        "rounding": rng.choice(list(Rounding)),
        "saturate": rng.randrange(2),
        "overlap": rng.randrange(2),
        "transpose": 0 if wide else int(rng.random() < 0.3),
        "partition": rng.randrange(config.n),
        "reduction": rng.choice((0, 0, 0, *Reduction)),
        "proceed": rng.randrange(2),
        "finish": rng.randrange(2),
    }
    for number in "01":
        kind = rng.choice(list(Operand))
        at = 2 * rng.randrange(config.sbuf_depth // 2)
        fields |= {f"op{number}": rng.randrange(16), f"s{number}_kind": kind}
        fields[f"s{number}"] = at if kind == Operand.PARTITION else rng.getrandbits(32)
    for name in "xy":
        unit = 2 if fields[f"{name}_format"] in WIDE else 1
        places = walk(rng, columns, config.sbuf_depth, unit)
        fields |= dict(zip((f"{name}_addr", f"{name}_stride"), places, strict=True))
    if fields["x_source"] == Source.PSUM:
        fields["x_addr"], fields["x_stride"] = walk(rng, columns, config.psum_depth, 1)
    elif fields["x_source"] != Source.SBUF:
        fields["x_addr"], fields["x_stride"] = rng.getrandbits(16), rng.randrange(-2048, 2048)
    if fields["transpose"]:
        lines = -(-(fields["partition"] + columns) // config.n)
        places = walk(rng, lines, config.sbuf_depth, config.n)
    else:
        places = walk(rng, columns, config.sbuf_depth, 1 + wide)
    fields |= dict(zip(("dst", "dst_stride"), places, strict=True))
    return Item("vector.compute", fields)


def generator_as_compute(full, n):
    """The fields of a vector.compute that moves what vector.generator moves."""
    zero = ("op0", "op1", "reduction", "rounding", "transpose", "overlap", "proceed", "finish")
    return dict.fromkeys(zero, 0) | {
        "x_source": Source.RANDOM if full["save"] else Source.SBUF,
        "x_format": RAW32,
        "format": RAW32,
        "x_addr": full["addr"],
        "dst": full["addr"],
        "x_stride": 2,
        "dst_stride": 2,
        "rows": n,
        "columns": 4,
        "partition": 0,
    }


class Expected:
    """Requests and issues of an instruction, by the rules of the instruction set."""

    def __init__(self, item, config):
        state = item.mnemonic == "vector.generator"
        self.fields = f = generator_as_compute(item.full, config.n) if state else item.full
        self.config, self.state = config, state
        steps = [(f["op0"], 0), (f["op1"], 1)]
        if f["op0"] == Operation.PASS:
            steps.reverse()
        self.operands = [
            (f[f"s{n}_kind"], f[f"s{n}"]) if op not in UNARY else (None, None) for op, n in steps
        ]
        kinds = [kind for kind, _ in self.operands]
        self.y_used = Operand.Y in kinds or f["rounding"] == Rounding.GIVEN
        reads = f["x_source"] == Source.SBUF or self.y_used or Operand.PARTITION in kinds
        self.waits = bool((reads and not f["overlap"]) or f["proceed"] or state)
        self.finishes = bool(f["reduction"] != Reduction.NONE and f["finish"])
        items = [*self._scalars(), *(self._element(i) for i in range(f["columns"]))]
        parts = range(config.vector_folding)
        self.items = [item | {"part": part} for item in items for part in parts]
        if not self.finishes:
            self.items[-1]["last"] = 1

    def _scalars(self):
        for (kind, value), name in zip(self.operands, (Kind.SCALAR0, Kind.SCALAR1), strict=True):
            if kind == Operand.IMMEDIATE:
                yield {"kind": name, "source": Source.INDEX, "value": value, "draw": 0}
            elif kind == Operand.PARTITION:
                yield {
                    "kind": name,
                    "source": Source.SBUF,
                    "x": (value & 0xFFFF, 1),
                    "x_format": FP32.code,
                    "draw": 0,
                }

    def _element(self, i):
        f, n = self.fields, self.config.n
        at = f["x_addr"] + i * f["x_stride"]
        writes = f["save"] if "save" in f else f["reduction"] == Reduction.NONE
        if self.state:
            writes = f["x_source"] == Source.RANDOM
        kind = Kind.ELEMENT
        if self.state:
            kind = Kind.STATE_SAVE if writes else Kind.STATE_LOAD
        item = {"kind": kind, "source": f["x_source"], "partial": i % 8}
        item["begin"] = i == 0 and not f["proceed"]
        draws = f["x_source"] == Source.RANDOM or f["rounding"] == Rounding.STOCHASTIC
        item["draw"] = draws and not self.state
        if f["x_source"] == Source.SBUF:
            item |= {"x": (at, f["x_format"] in WIDE), "x_format": f["x_format"]}
        elif f["x_source"] == Source.PSUM:
            item["psum"] = at
        elif f["x_source"] == Source.INDEX:
            item["value"] = at & 0xFFFF | 0x4B00_0000
        if self.y_used:
            y_at = f["y_addr"] + i * f["y_stride"]
            item |= {"y": (y_at, f["y_format"] in WIDE), "y_format": f["y_format"]}
        item["rows"] = f["rows"] if writes else 0
        item["last"] = 0
        if writes:
            group, partition = divmod(f["partition"] + i, n)
            place = group if f["transpose"] else i
            item["addr"] = f["dst"] + place * f["dst_stride"]
            if f["transpose"]:
                item["partition"] = partition
        return item


class SequencerBench:
    """Offers instructions, grants operands or not, and compares every item that is issued."""

    def __init__(self, config, deny):
        self.config, self.deny = config, deny
        self.dut, self.rng = ElementSequencer(config), random.Random(SEED)
        self.cycle, self.under_way_until = 0, -1
        self.asked, self.seen, self.issued, self.finished = {}, [], [], []
        self.accepted = []
        self.waited = self.late = self.queried = 0

    async def step(self, ctx):
        """A cycle; whether the instruction was accepted."""
        dut, rng = self.dut, self.rng
        drained = self.cycle > self.under_way_until
        ctx.set(dut.drained, drained)
        ctx.set(dut.psum_written, 1)
        ctx.set(dut.room, rng.random() > self.deny / 4)
        held = "x" in self.asked
        count = self.config.bus_words
        taken = rng.randrange(1 << count) if rng.random() < self.deny else 0
        ctx.set(dut.taken, taken)
        for name in "xy":
            if ctx.get(getattr(dut, f"{name}_en")):
                assert name not in self.asked or name == "y", "x is asked for twice"
                request = ctx.get(getattr(dut, name))
                first = request.addr % count
                banks = 3 << first - first % 2 if request.double else 1 << first
                if not banks & taken:
                    self.asked[name] = (request.addr, request.double)
                taken |= banks
        issues = ctx.get(dut.issue_valid)
        assert ctx.get(dut.issue.late) == held, "an x that waits is kept in every cycle"
        if not issues:
            self.asked.pop("y", None)  # a y that is granted before its x is asked for again
        if issues:
            self.issued.append(self.cycle)
            self.seen.append((self._issue(ctx, held), self.asked))
            self.late += held
            self.asked = {}
            self.under_way_until = self.cycle + _LANE_CYCLES
        if ctx.get(dut.finish):
            assert drained
            result = ctx.get(dut.result)
            self.finished.append((len(self.seen), result.addr, result.rows, result.last))
            self.under_way_until = self.cycle + 2 * _LANE_CYCLES
        assert not ctx.get(dut.trap_valid)
        accepted = ctx.get(dut.start)
        if accepted:
            self.accepted.append((self.cycle, drained, len(self.seen), len(self.finished)))
        self.cycle += 1
        goes_on = issues and self.seen[-1][0]["part"] == self.config.vector_folding - 1
        if ctx.get(dut.idle) or (
            goes_on and self.seen[-1][0]["kind"] not in (Kind.SCALAR0, Kind.SCALAR1)
        ):
            self.queried = ctx.get(dut.psum_query)
        await ctx.tick()
        return accepted

    def _issue(self, ctx, held):
        issue = ctx.get(self.dut.issue)
        assert issue.late == held
        exit_ = issue.ring.exit
        names = ("rows", "last", "addr", "partition", "part")
        item = {name: getattr(exit_, name) for name in names}
        item |= {name: getattr(issue.ring, name) for name in ("partial", "begin")}
        names = ("kind", "source", "value", "draw", "x_format", "y_format")
        item |= {name: getattr(issue, name) for name in names}
        if ctx.get(self.dut.psum_en):
            item["psum"] = ctx.get(self.dut.psum_addr)
            assert self.queried == item["psum"], "its word was not asked about"
        return item

    async def run(self, ctx, items, rests=False):
        """Offer all items; with `rests` each when the one before has left the lanes."""
        dut = self.dut
        for item in items:
            ctx.set(dut.instr.valid, 1)
            ctx.set(dut.instr.payload.op, item.word & 0xF)
            ctx.set(dut.instr.payload.payload, item.word >> PAYLOAD_OFFSET)
            while not await self.step(ctx):
                assert self.cycle < 400 * len(items)
            ctx.set(dut.instr.valid, 0)
            while rests and not (ctx.get(dut.idle) and self.cycle > self.under_way_until):
                await self.step(ctx)
        while not ctx.get(dut.idle):
            await self.step(ctx)

    def check(self, items):
        place = finished = 0
        for number, (item, (_, drained, seen, results)) in enumerate(
            zip(items, self.accepted, strict=True)
        ):
            expected = Expected(item, self.config)
            assert (seen, results) == (place, finished), "the one before has not ended"
            assert drained or not expected.waits, f"instruction {number} did not wait"
            self.waited += expected.waits
            for wanted in expected.items:
                actual, asked = self.seen[place]
                actual |= asked
                assert {name: actual.get(name) for name in wanted} == wanted, (number, item)
                assert {*asked} == {"x", "y"} & {*wanted}, (number, item)
                assert ("psum" in actual) == ("psum" in wanted)
                place += 1
            if expected.finishes:
                f = expected.fields
                assert self.finished[finished] == (place, f["dst"], f["rows"], 1)
                finished += 1
        assert (place, finished) == (len(self.seen), len(self.finished))


@pytest.mark.parametrize("deny", [0.0, 0.5])
@pytest.mark.parametrize(
    "config",
    [CONFIG, NARROW, FOLDED],
    ids=["line a write", "line in two writes", "two partitions a lane"],
)
def test_scalars_come_first_and_elements_walk_their_addresses(config, deny):
    bench = SequencerBench(config, deny)
    items = [random_item(bench.rng, config) for _ in range(50)]
    simulate(bench.dut, partial(bench.run, items=items))
    bench.check(items)
    assert len(bench.seen) > 400
    assert len(bench.finished) > 3
    assert bench.waited > 20
    assert bench.late > (5 if deny else 0)
    assert {item["part"] for item, _ in bench.seen} == {*range(config.vector_folding)}


@pytest.mark.parametrize(
    ("fields", "cycles"),
    [
        ({}, 1),
        ({"op0": "mul", "op1": "mul"}, 2),
        ({"op0": "add", "op1": "add", "reduction": "sum"}, 3),
        ({"transpose": 1, "dst_stride": 8}, 2),
        ({"transpose": 1, "dst_stride": 8, "op0": "add", "op1": "add"}, 2),
    ],
    ids=["a copy", "two products", "three sums", "lines in two writes", "both"],
)
def test_elements_are_issued_in_their_rhythm(fields, cycles):
    usual = {"rows": 8, "columns": 18, "dst": 0, "format": "bf16"}
    item = Item("vector.compute", usual | fields)
    bench = SequencerBench(NARROW, 0.0)
    simulate(bench.dut, partial(bench.run, items=[item]))
    bench.check([item])
    elements = bench.issued[-18:]
    assert {after - before for before, after in pairwise(elements)} == {cycles}


@pytest.mark.parametrize("rests", [False, True])
@pytest.mark.parametrize(
    ("fields", "interval"),
    [
        ({"op0": "mul", "op1": "mul"}, 2),
        ({"op0": "add", "op1": "add", "reduction": "sum", "finish": 1}, 3),
    ],
    ids=["two products", "three sums"],
)
def test_a_rhythm_is_kept_from_the_first_element_on(fields, interval, rests):
    """Whatever the instruction before: its elements are as many as make every phase."""
    usual = {"rows": 8, "dst": 0, "format": "bf16"}
    alone = {"s0_kind": Operand.SELF, "s1_kind": Operand.SELF}
    copies = [Item("vector.compute", usual | {"columns": columns}) for columns in range(1, 13)]
    slow = Item("vector.compute", usual | {"columns": 3} | alone | fields)
    items = [item for copy in copies for item in (copy, slow)]
    bench = SequencerBench(NARROW, 0.0)
    simulate(bench.dut, partial(bench.run, items=items, rests=rests))
    bench.check(items)
    firsts = [seen for _, _, seen, _ in bench.accepted[1::2]]
    phases = {cycle % interval for first in firsts for cycle in bench.issued[first : first + 3]}
    assert len(firsts) == 12 and len(phases) == 1
