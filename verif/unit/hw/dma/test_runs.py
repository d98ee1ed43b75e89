"""The run generator and the burst splitter, by themselves: order, checks and rate."""

from random import Random

import pytest

from tegula.config import preset
from tegula.dma.bursts import BurstSplitter
from tegula.dma.layouts import ItemKind
from tegula.dma.runs import RunGenerator
from tegula.isa.instructions import Engine
from tegula.isa.traps import Trap
from verif.support.dma_models import BASE, bursts_of, expand, pack_fields
from verif.support.dma_programs import SHAPES, random_descriptor
from verif.support.unit_bench import simulate

MEMORY_BYTES = 4096
WINDOW = (BASE, BASE + MEMORY_BYTES - 1)


def generate(config, descriptors, *, count, ready=lambda: True, window=WINDOW, budget=2000):
    """Items of the run generator as (cycle, kind, last, addr, elements, start), and its trap."""
    dut = RunGenerator(config, Engine.LOAD)
    seen, trap = [], []

    async def bench(ctx):
        ctx.set(dut.window.base, window[0])
        ctx.set(dut.window.last, window[1])
        ctx.set(dut.tickets.ready, 1)
        queue = list(descriptors)
        cycle = 0
        while len(seen) < count:
            ctx.set(dut.instr.valid, bool(queue))
            if queue:
                ctx.set(dut.instr.payload.op, queue[0] is not None)
                ctx.set(dut.instr.payload.payload, pack_fields(queue[0]) if queue[0] else 0)
            accepts = ready()
            ctx.set(dut.runs.ready, accepts)
            _, _, taken, valid, run = await ctx.tick().sample(
                dut.instr.ready, dut.runs.valid, dut.runs.payload
            )
            if queue and taken:
                queue.pop(0)
            if valid and accepts:
                partition = None if run.layout else run.partition
                seen.append(
                    (
                        cycle,
                        run.kind,
                        run.last,
                        run.addr,
                        run.elements_m1 + 1,
                        (partition, run.sbuf_addr),
                    )
                )
            cycle += 1
            assert cycle < budget
        trap.append((ctx.get(dut.trap_cause), ctx.get(dut.trap_address)))

    simulate(dut, bench)
    return seen, trap[0]


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_runs_come_in_order_with_their_places(shape, stall):
    config = preset(**SHAPES[shape])
    rng = Random(f"runs {shape} {stall}")
    descriptors = [random_descriptor(rng, config, MEMORY_BYTES) for _ in range(12)]
    expected = []
    for fields in descriptors:
        runs = expand(config, fields, WINDOW)
        for index, run in enumerate(runs):
            _, partition, word = run.elements[0]
            start = (None if fields["layout"] else partition, word)
            last = int(index == len(runs) - 1)
            expected.append((ItemKind.RUN, last, run.addr, len(run.elements), start))
    seen, _ = generate(
        config, descriptors, count=len(expected), ready=lambda: rng.random() >= stall
    )
    assert [item[1:] for item in seen] == expected


def test_a_run_comes_every_cycle_after_the_latency():
    config = preset("small")
    fields = {"mem_addr": BASE, "run": 1, "count1": 4, "count2": 5, "count3": 2}
    fields |= {"mem_stride1": 2, "sbuf_addr": 0, "sbuf_stride2": 8, "layout": 0}
    seen, _ = generate(config, [fields, fields], count=80)
    first = [RunGenerator.LATENCY + i for i in range(40)]
    second = [first[-1] + 2 + i for i in range(40)]
    assert [item[0] for item in seen] == first + second


def test_a_sync_is_an_item_in_order():
    config = preset("small")
    fields = {"mem_addr": BASE, "run": 1, "count1": 2, "sbuf_addr": 0, "layout": 1}
    seen, _ = generate(config, [None, fields, None], count=4)
    assert [(item[1], item[2]) for item in seen] == [
        (ItemKind.SYNC, 1),
        (ItemKind.RUN, 0),
        (ItemKind.RUN, 1),
        (ItemKind.SYNC, 1),
    ]


@pytest.mark.parametrize(
    ("changes", "cause", "address"),
    [
        ({"sbuf_addr": 8, "sbuf_stride1": -16}, Trap.SBUF_RANGE, (1 << 20) - 8),
        ({"sbuf_addr": 65528, "run": 1}, Trap.SBUF_RANGE, 65528),
        ({"mem_addr": 2, "mem_stride1": -4}, Trap.MEMORY_WINDOW, (1 << 48) - 2),
        ({"mem_addr": (1 << 40) - 2}, Trap.MEMORY_WINDOW, (1 << 40) - 2),
        ({"mem_addr": 2, "mem_stride1": -(1 << 31)}, Trap.MEMORY_WINDOW, (1 << 48) + 2 - (1 << 31)),
        ({"sbuf_addr": 12}, Trap.SBUF_ALIGNMENT, 12),
    ],
)
def test_a_trap_records_the_first_address_of_the_run(changes, cause, address):
    config = preset("small")
    fields = {"mem_addr": 64, "run": 5, "count1": 3, "sbuf_addr": 0, "layout": 0} | changes
    window = (0, (1 << 48) - 1)
    reachable = (0, (1 << config.axi_addr_width) - 1)
    runs = expand(config, fields, reachable)
    seen, trap = generate(config, [fields], count=len(runs), window=window)
    assert seen[-1][1] == ItemKind.TRAP
    assert trap == (cause, address)


@pytest.mark.parametrize(("slack", "kind"), [(0, ItemKind.RUN), (-1, ItemKind.TRAP)])
@pytest.mark.parametrize("end", ["first", "last"])
def test_the_window_holds_its_first_and_its_last_byte(end, slack, kind):
    fields = {"mem_addr": 64, "run": 5, "count1": 1, "sbuf_addr": 0, "layout": 0}
    window = (0, 73 + slack) if end == "last" else (64 - slack, 1000)
    seen, _ = generate(preset("small"), [fields], count=1, window=window)
    assert seen[0][1] == kind


@pytest.mark.parametrize("burst", [1, 4, 256])
def test_bursts_are_split_at_aligned_multiples_one_a_cycle(burst):
    config = preset("tiny", max_burst_beats=burst)
    rng = Random(f"bursts {burst}")
    dut = BurstSplitter(config)
    runs = [(rng.randrange(1 << 20), rng.choice((1, 7, 300)), rng.randrange(2)) for _ in range(30)]
    expected = []
    for addr, elements, bytes1 in runs:
        size = elements * (2 - bytes1)
        pieces = bursts_of(config, addr, size)
        spill = (addr + size - 1) % config.bus_bytes < addr % config.bus_bytes
        expected += [
            (max(start, addr), length, addr % config.bus_bytes, index == len(pieces) - 1, spill)
            for index, (start, length) in enumerate(pieces)
        ]
    seen = []

    async def bench(ctx):
        queue = list(runs)
        ctx.set(dut.bursts.ready, 1)
        for _ in range(len(expected) + 1):
            ctx.set(dut.runs.valid, bool(queue))
            if queue:
                addr, elements, bytes1 = queue[0]
                ctx.set(dut.runs.payload.addr, addr)
                ctx.set(dut.runs.payload.elements_m1, elements - 1)
                ctx.set(dut.runs.payload.bytes1, bytes1)
            _, _, taken, valid, item = await ctx.tick().sample(
                dut.runs.ready, dut.bursts.valid, dut.bursts.payload
            )
            if queue and taken:
                queue.pop(0)
            if valid:
                seen.append((item.addr, item.len, item.offset, item.run_last, item.spill))

    simulate(dut, bench)
    assert seen == expected
