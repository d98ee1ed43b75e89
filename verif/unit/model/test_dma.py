"""DMA in the functional simulator, against a second opinion that walks element by element."""

from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tegula.config import preset
from tegula.formats import BF16, FP32
from tegula.isa.codec import encode
from tegula.isa.instructions import Engine
from tegula.isa.operations import Accumulate
from tegula.isa.traps import Trap
from tegula_golden.tile.simulator import GoldenTile
from verif.oracles import numerics as reference
from verif.stimuli.fp32 import SUM_KINDS, addends, special_pairs

TINY = preset("tiny", sbuf_depth=64)
BASE = 0x10000
MEMORY_BYTES = 2048
PROGRAM = BASE + MEMORY_BYTES - 128
WINDOW = (BASE + 64, BASE + MEMORY_BYTES - 1)
"""The first 64 bytes of memory are closed to the tile."""


def plus(held, incoming, fmt):
    """The code of a sum by exact fractions: rounded to fp32, then to the format."""
    numbers = [reference.value(code, fmt) for code in (held, incoming)]
    strings = {number for number in numbers if isinstance(number, str)}
    if "nan" in strings or len(strings) == 2:
        return fmt.nan
    if strings:
        return fmt.infinity | (strings == {"-inf"}) << (fmt.width - 1)
    total = sum(numbers)
    negative = total < 0
    if total == 0:
        negative = held >> (fmt.width - 1) and incoming >> (fmt.width - 1)
    magnitude = min(reference.round_value(total, FP32), FP32.infinity)
    return reference.cast_code(magnitude | (1 << 31 if negative else 0), fmt)


def walk(config, memory, sbuf, fields, store):
    """Move elements one by one; returns the trap (cause, address) or None, and the beats."""
    size = 1 if fields["bytes1"] else 2
    half = fields.get("half", 0)
    accumulate = fields.get("accumulate", Accumulate.NONE)
    width = 2 if accumulate == Accumulate.FP32 else 1
    fmt = {Accumulate.BF16: BF16, Accumulate.FP32: FP32}.get(accumulate)
    n, depth, run = config.n, config.sbuf_depth, fields["run"]
    beats = 0
    axes = [range(fields[f"count{axis}"]) for axis in (3, 2, 1)]
    for index in product(*axes):

        def at(start, stride, index=index):
            steps = zip((3, 2, 1), index, strict=True)
            return start + sum(i * fields[f"{stride}{axis}"] for axis, i in steps)

        address = at(fields["mem_addr"], "mem_stride")
        addr = at(fields["sbuf_addr"], "sbuf_stride")
        partition = at(fields["partition"], "partition_stride")
        if address < WINDOW[0] or address + size * run - 1 > WINDOW[1]:
            return (Trap.MEMORY_WINDOW, address % (1 << 48)), beats
        if fields["layout"]:
            last = addr + (run - 1) // n * fields["sbuf_stride0"]
            inside = 0 <= addr < depth and 0 <= last < depth
        else:
            inside = partition < n and 0 <= addr and addr + run - 1 < depth
        if not inside:
            return (Trap.SBUF_RANGE, addr % (1 << 20)), beats
        if not fields["layout"] and (addr % config.bus_words or run % width):
            return (Trap.SBUF_ALIGNMENT, addr), beats
        if store and accumulate and address % (width * size):
            return (Trap.MEMORY_ALIGNMENT, address), beats
        beats += len({(address + i) // config.bus_bytes for i in range(size * run)})
        for i in range(0, run, width):
            place = (i % n, addr + i // n * fields["sbuf_stride0"])
            if not fields["layout"]:
                place = (partition, addr + i)
            words = sbuf[place[0], place[1] : place[1] + width]
            held = sum(word << 16 * j for j, word in enumerate(words.tolist()))
            there = memory[address + i * size - BASE :][: width * size]
            code = int.from_bytes(there.tobytes(), "little")
            if store:
                held = held >> 8 if half == 2 else held
                code = plus(code, held, fmt) if fmt else held & (1 << 8 * len(there)) - 1
                there[:] = np.frombuffer(code.to_bytes(len(there), "little"), np.uint8)
            else:
                code = plus(held, code, fmt) if fmt else code
                code = {0: code, 1: held & 0xFF00 | code, 2: held & 0xFF | code << 8}[half]
                words[:] = [code >> 16 * j & 0xFFFF for j in range(width)]
    return None, beats


@st.composite
def descriptors(draw):
    """Fields of a DMA that mostly stays inside, and often only just."""
    layout = draw(st.integers(0, 1))
    line = TINY.bus_words if not layout and draw(st.integers(0, 7)) else 1
    run = draw(st.integers(1, 24))
    fields = {
        "layout": layout,
        "bytes1": draw(st.integers(0, 1)),
        "run": run,
        "mem_addr": draw(st.integers(WINDOW[0] - 2, WINDOW[0] + 1200)),
        "sbuf_addr": draw(st.integers(0, TINY.sbuf_depth // line)) * line,
        "sbuf_stride0": draw(st.integers(-4, 6)),
        "partition": draw(st.integers(0, TINY.n - 1)),
    }
    for axis in (1, 2, 3):
        fields[f"count{axis}"] = draw(st.integers(1, 4))
        fields[f"mem_stride{axis}"] = draw(st.integers(-80, 120))
        fields[f"sbuf_stride{axis}"] = draw(st.integers(-8 // line, 8 // line)) * line
        fields[f"partition_stride{axis}"] = draw(st.integers(0, 1))
    fields["accumulate"] = draw(st.sampled_from([0, *Accumulate]))
    if layout and fields["accumulate"] == Accumulate.FP32:
        fields["accumulate"] = Accumulate.BF16
    if fields["accumulate"]:
        fields["bytes1"] = 0
        if draw(st.integers(0, 2)):  # mostly on multiples of four
            for name in ("mem_addr", "mem_stride1", "mem_stride2", "mem_stride3"):
                fields[name] = fields[name] // 4 * 4
    fields["half"] = draw(st.integers(0, 2)) if fields["bytes1"] else 0
    return fields


def execute(fields, store, seed=0):
    """Outcome of the simulator: trap, beats without the fetch, memory, scratchpad before, after."""
    rng = np.random.default_rng(seed)
    program = encode("store.dma" if store else "load.dma", TINY, **fields) + encode("halt")
    memory = rng.integers(0, 256, MEMORY_BYTES).astype(np.uint8)
    memory[PROGRAM - BASE :][: len(program)] = np.frombuffer(program, np.uint8)
    tile = GoldenTile(TINY)
    tile.write_sbuf(0, rng.integers(0, 1 << 16, (TINY.n, TINY.sbuf_depth)).astype(np.uint16))
    before = memory.copy(), tile.read_sbuf(0, TINY.sbuf_depth)
    result = tile.run(memory, program=PROGRAM, program_bytes=len(program), base=BASE, window=WINDOW)
    fetch = len(program) // TINY.bus_bytes
    if store:
        beats = result.write_beats
        assert result.read_beats == fetch + (beats if fields.get("accumulate") else 0)
    else:
        assert result.write_beats == 0
        beats = result.read_beats - fetch
    return result.trap, beats, before, (memory, tile.read_sbuf(0, TINY.sbuf_depth))


ROW = {
    "layout": 0,
    "bytes1": 0,
    "run": 8,
    "mem_addr": WINDOW[0],
    "sbuf_addr": 0,
    "sbuf_stride0": 0,
    "partition": 0,
    **{f"count{axis}": 1 for axis in (1, 2, 3)},
    **{f"mem_stride{axis}": 0 for axis in (1, 2, 3)},
    **{f"sbuf_stride{axis}": 0 for axis in (1, 2, 3)},
    **{f"partition_stride{axis}": 0 for axis in (1, 2, 3)},
}


@settings(max_examples=300, deadline=None)
@given(descriptors(), st.booleans())
@example(ROW, False)
@example({**ROW, "mem_addr": WINDOW[0] + 1}, True)
@example({**ROW, "mem_addr": WINDOW[0] + 1}, False)
@example({**ROW, "count1": 4, "mem_stride1": -16, "mem_addr": WINDOW[0] + 48}, True)
@example({**ROW, "count1": 4, "mem_stride1": 40, "partition_stride1": 1}, False)
@example({**ROW, "count1": 5, "partition_stride1": 1}, True)
@example({**ROW, "layout": 1, "run": 13, "sbuf_stride0": 3, "partition": 3}, False)
@example({**ROW, "layout": 1, "run": 13, "sbuf_stride0": -1, "sbuf_addr": 3}, True)
@example({**ROW, "layout": 1, "run": 13, "sbuf_stride0": -1, "sbuf_addr": 2}, True)
@example({**ROW, "sbuf_addr": 56, "run": 9}, False)
@example({**ROW, "sbuf_addr": 60, "count1": 2, "sbuf_stride1": -64, "run": 1}, False)
@example({**ROW, "bytes1": 1, "half": 2, "run": 24, "mem_addr": WINDOW[0] + 3}, True)
@example({**ROW, "bytes1": 1, "half": 2, "run": 24, "mem_addr": WINDOW[0] + 3}, False)
@example({**ROW, "bytes1": 1, "half": 1, "run": 24, "mem_addr": WINDOW[0] + 3}, False)
@example({**ROW, "bytes1": 1, "run": 24, "mem_addr": WINDOW[0] + 3}, True)
@example({**ROW, "bytes1": 1, "run": 24, "mem_addr": WINDOW[0] + 3}, False)
@example({**ROW, "accumulate": 1, "count1": 3, "mem_stride1": 16}, False)
@example({**ROW, "accumulate": 2, "count1": 3, "mem_stride1": 4}, True)
@example({**ROW, "accumulate": 2, "count1": 3, "mem_stride1": 2}, True)
@example({**ROW, "accumulate": 1, "mem_addr": WINDOW[0] + 1}, True)
@example({**ROW, "accumulate": 1, "mem_addr": WINDOW[0] + 1}, False)
@example({**ROW, "accumulate": 2, "run": 7}, True)
@example({**ROW, "accumulate": 1, "layout": 1, "run": 13}, False)
@example({**ROW, "accumulate": 1, "layout": 1, "run": 13}, True)
def test_a_descriptor_moves_what_its_elements_move(fields, store):
    trap, beats, (memory, sbuf), (memory_after, sbuf_after) = execute(fields, store)
    expected, expected_beats = walk(TINY, memory, sbuf, fields, store)
    if expected is None:
        assert trap is None
    else:
        engine = Engine.STORE if store else Engine.LOAD
        assert (trap.cause, trap.address, trap.engine, trap.pc) == (*expected, engine, 0)
    assert beats == expected_beats
    np.testing.assert_array_equal(memory_after, memory)
    np.testing.assert_array_equal(sbuf_after, sbuf)


def test_random_descriptors_meet_every_outcome():
    seen = set()

    @settings(max_examples=200, deadline=None, database=None, derandomize=True)
    @given(descriptors(), st.booleans())
    def collect(fields, store):
        trap = execute(fields, store)[0]
        seen.add(Trap.NONE if trap is None else trap.cause)

    collect()
    assert seen == {
        Trap.NONE,
        Trap.MEMORY_WINDOW,
        Trap.SBUF_RANGE,
        Trap.SBUF_ALIGNMENT,
        Trap.MEMORY_ALIGNMENT,
    }


def test_a_long_descriptor_is_moved_in_pieces(monkeypatch):
    fields = {**ROW, "run": 5, "count1": 7, "mem_stride1": 10, "sbuf_stride1": 8, "bytes1": 0}
    whole = execute(fields, store=False)
    monkeypatch.setattr("tegula_golden.tile.dma._CHUNK_ELEMENTS", 11)
    pieces = execute(fields, store=False)
    assert whole[:2] == pieces[:2]
    np.testing.assert_array_equal(whole[3][1], pieces[3][1])
    assert (whole[3][1] != whole[2][1]).any()


def run_outside(mnemonic, **fields):
    """A DMA with the window open far beyond the memory; trap, memory and scratchpad."""
    rng = np.random.default_rng(1)
    fields = {**ROW, **fields}
    program = encode(mnemonic, TINY, **fields) + encode("halt")
    memory = rng.integers(0, 256, MEMORY_BYTES).astype(np.uint8)
    memory[PROGRAM - BASE :][: len(program)] = np.frombuffer(program, np.uint8)
    tile = GoldenTile(TINY)
    before = memory.copy()
    result = tile.run(
        memory,
        program=PROGRAM,
        program_bytes=len(program),
        base=BASE,
        window=(0, (1 << 48) - 1),
    )
    return result.trap, before, memory, tile.read_sbuf(0, TINY.sbuf_depth)


def test_a_read_beyond_memory_keeps_the_whole_chunks_before_the_failed_beat():
    address = BASE + MEMORY_BYTES - 42
    trap, before, _, sbuf = run_outside("load.dma", mem_addr=address, run=48)
    boundary = BASE + MEMORY_BYTES
    assert (trap.cause, trap.engine, trap.address) == (Trap.BUS_DECERR, Engine.LOAD, boundary)
    np.testing.assert_array_equal(sbuf[0, :20], before[-42:-2].view("<u2"))
    assert not sbuf[0, 20:].any()


def test_the_address_of_a_bus_error_is_that_of_its_burst():
    trap, *_ = run_outside("load.dma", mem_addr=BASE - 6, run=8)
    assert (trap.cause, trap.address) == (Trap.BUS_DECERR, BASE - 6)
    trap, *_ = run_outside("store.dma", mem_addr=BASE + MEMORY_BYTES + 33, run=2)
    assert (trap.cause, trap.address) == (Trap.BUS_DECERR, BASE + MEMORY_BYTES + 33)


def test_a_write_beyond_memory_stops_before_the_failed_burst():
    trap, before, after, _ = run_outside(
        "store.dma", mem_addr=BASE + MEMORY_BYTES - 16, run=8, count1=4, mem_stride1=16
    )
    boundary = BASE + MEMORY_BYTES
    assert (trap.cause, trap.engine, trap.address) == (Trap.BUS_DECERR, Engine.STORE, boundary)
    assert not after[-16:].any()
    np.testing.assert_array_equal(after[:-16], before[:-16])


def test_addresses_that_the_bus_cannot_express_are_outside_the_window():
    address = (1 << TINY.axi_addr_width) - 8
    trap, *_ = run_outside("load.dma", mem_addr=address, run=8)
    assert (trap.cause, trap.address) == (Trap.MEMORY_WINDOW, address)


def test_a_memory_address_below_zero_is_outside_the_window():
    trap, *_ = run_outside("load.dma", mem_addr=BASE, count1=2, mem_stride1=-BASE - 2)
    assert (trap.cause, trap.address) == (Trap.MEMORY_WINDOW, (1 << 48) - 2)


@pytest.mark.parametrize("store", [False, True])
def test_partitions_are_ignored_across_partitions(store):
    fields = {**ROW, "layout": 1, "run": 16, "sbuf_stride0": 1}
    plain = execute(fields, store)
    odd = execute({**fields, "partition": 3, "partition_stride1": 4}, store)
    assert plain[0] is odd[0] is None
    for a, b in zip(plain[3], odd[3], strict=True):
        differs = a != b
        if differs.ndim == 1:
            differs[PROGRAM - BASE :] = False
        assert not differs.any()


@pytest.mark.parametrize("store", [False, True])
@pytest.mark.parametrize("kind", [*SUM_KINDS, "special"])
@pytest.mark.parametrize("fmt", [BF16, FP32], ids=lambda fmt: fmt.name)
def test_sums_are_the_exact_ones_rounded_as_the_contract_says(fmt, kind, store):
    size = 24
    rng = np.random.default_rng(7)
    pairs = special_pairs() if kind == "special" else addends(rng, 400, kind)
    config, base = preset("tiny"), 0x1000
    if fmt is BF16:
        pairs = [(codes >> 16).astype(np.uint16) for codes in pairs]
    held, incoming = pairs
    for first in range(0, len(held), size):
        inside, outside = (x[first : first + size].copy() for x in (held, incoming))
        words = inside.view(np.uint16)
        memory = np.zeros(512, np.uint8)
        memory[256 : 256 + outside.nbytes] = outside.view(np.uint8)
        accumulate = "fp32" if fmt is FP32 else "bf16"
        fields = ROW | {"mem_addr": base + 256, "run": len(words), "accumulate": accumulate}
        program = encode("store.dma" if store else "load.dma", config, **fields) + encode("halt")
        memory[: len(program)] = np.frombuffer(program, np.uint8)
        tile = GoldenTile(config)
        tile.write_sbuf(0, np.broadcast_to(words, (config.n, len(words))))
        run = tile.run(memory, program=base, program_bytes=len(program), base=base)
        assert run.trap is None
        result = memory[256 : 256 + outside.nbytes].view(outside.dtype)
        if not store:
            result = tile.read_sbuf(0, len(words))[0].view(outside.dtype)
        pairs_here = zip(inside.tolist(), outside.tolist(), strict=True)
        assert result.tolist() == [plus(x, y, fmt) for x, y in pairs_here]


@pytest.mark.parametrize("store", [False, True])
def test_runs_that_meet_at_their_destination_all_add_to_it(store):
    ones = np.full(8, 0x3F80, np.uint16)
    fields = ROW | {"count1": 5, "accumulate": "bf16"}
    tile = GoldenTile(TINY)
    tile.write_sbuf(0, np.broadcast_to(ones, (TINY.n, 8)))
    program = encode("store.dma" if store else "load.dma", TINY, **fields) + encode("halt")
    memory = np.zeros(MEMORY_BYTES, np.uint8)
    memory[WINDOW[0] - BASE :][:16] = ones.view(np.uint8)
    memory[PROGRAM - BASE :][: len(program)] = np.frombuffer(program, np.uint8)
    run = tile.run(memory, program=PROGRAM, program_bytes=len(program), base=BASE, window=WINDOW)
    assert run.trap is None
    six = memory[WINDOW[0] - BASE :][:16].view(np.uint16) if store else tile.read_sbuf(0, 8)[0]
    assert six.tolist() == [0x40C0] * 8


def test_a_number_that_only_half_arrives_is_not_added():
    address = BASE + MEMORY_BYTES - 42
    fields = {"mem_addr": address, "run": 48, "accumulate": "fp32"}
    trap, before, _, sbuf = run_outside("load.dma", **fields)
    assert (trap.cause, trap.address) == (Trap.BUS_DECERR, BASE + MEMORY_BYTES)
    numbers = before[-42:-2].view("<u4").tolist()
    assert sbuf[0, :20].view(np.uint32).tolist() == [plus(0, code, FP32) for code in numbers]
    assert not sbuf[0, 20:].any()
