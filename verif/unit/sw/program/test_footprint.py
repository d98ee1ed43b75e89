"""Footprints of instructions against their reads and writes on the golden tile.

An instruction is executed twice: as it is, and with every word that it is not said to read changed.
What then differs behind it has not been written, and what is alike has.
"""

from copy import deepcopy

import numpy as np
import pytest

from tegula.config import preset
from tegula.formats import E4M3FN
from tegula.isa.codec import decode, encode
from tegula.isa.instructions import ENGINES, Engine
from tegula.isa.operations import Operation
from tegula_golden.tile.bus import Bus
from tegula_golden.tile.simulator import COMPUTE, TRANSFER
from tegula_golden.tile.state import TileState
from tegula_golden.tile.tensor import tensor_load, tensor_matmul
from tegula_sw.program.footprint import Storage, accesses, memory_span
from verif.benches.memory_map import BASE
from verif.benches.random_ops import DATA_BYTES, random_engine_ops

REGISTERS = ("stationary", "scales", "partials", "sums", "entries", "descriptors", "written")
COUNT = 600


def random_state(config, rng):
    """A tile that has worked: noise in everything, and in all of PSUM numbers that can be there."""
    state = TileState(config)
    for number in (0, 1):
        state.sbuf[:] = rng.integers(0x3000, 0x4800, state.sbuf.shape)
        operand = {"rows": config.n, "format": 0, "packed": 0, "scaled": 0, "stride": 1}
        tensor_load(state, operand | {"columns": config.n, "addr": 50})
        whole = {"columns": config.psum_depth, "psum_addr": 0, "accumulate": number}
        tensor_matmul(state, operand | whole | {"addr": 99})
    # One that moving operands of every format, scaled ones too, are multiplied by.
    tensor_load(state, operand | {"format": E4M3FN.code, "columns": config.n, "addr": 50})
    for name in ("sbuf", "scales", "entries", "descriptors", "partials", "sums"):
        array = getattr(state, name)
        high = np.iinfo(array.dtype).max
        array[:] = rng.integers(0, high, array.shape, dtype=array.dtype, endpoint=True)
    return state


def execute(decoded, state, memory):
    if decoded.mnemonic in COMPUTE:
        COMPUTE[decoded.mnemonic](state, decoded.fields)
    else:
        bus = Bus(state.config, memory, BASE, (BASE, BASE + len(memory) - 1))
        TRANSFER[decoded.mnemonic](state, bus, decoded.fields)


def said(decoded, config):
    """Words that it is said to read, and to write: masks by storage."""
    shapes = {
        Storage.SCRATCHPAD: (config.n, config.sbuf_depth),
        Storage.PSUM: (config.n, config.psum_depth),
    }
    masks = {(s, writes): np.zeros(shapes[s], bool) for s in Storage for writes in (False, True)}
    for access in accesses(decoded, config):
        masks[access.storage, access.writes][access.where] = True
    return masks


def poisoned(state, other, masks):
    """The state with all words changed but those that are said to be read."""
    result = deepcopy(state)
    result.sbuf[:] = np.where(masks[Storage.SCRATCHPAD, False], state.sbuf, ~state.sbuf)
    kept = masks[Storage.PSUM, False]
    for name in ("exponent", "significand"):
        getattr(result, name)[:] = np.where(kept, getattr(state, name), getattr(other, name))
    return result


def memory_twin(decoded, memory):
    """Memory with all bytes changed but those that are said to be read."""
    twin = ~memory
    if decoded.mnemonic in TRANSFER:
        span = memory_span(decoded.fields)
        if decoded.mnemonic == "load.dma" or decoded.fields["accumulate"]:
            read = slice(span.start - BASE, span.stop - BASE)
            twin[read] = memory[read]
    return twin


def check_instruction(decoded, start, other, memory):
    """Execute with and without poison, and compare."""
    config = start.config
    masks = said(decoded, config)
    one, two = deepcopy(start), poisoned(start, other, masks)
    memories = memory.copy(), memory_twin(decoded, memory)
    before = [deepcopy(one), deepcopy(two), memories[1].copy()]
    execute(decoded, one, memories[0])
    execute(decoded, two, memories[1])

    for name in REGISTERS:
        assert np.array_equal(getattr(one, name), getattr(two, name)), name
    assert np.array_equal(one.generators.state, two.generators.state)
    may_keep = Operation.MERGE in (decoded.fields.get("op0"), decoded.fields.get("op1"))
    for storage, name in ((Storage.SCRATCHPAD, "sbuf"), (Storage.PSUM, "significand")):
        was, was_poisoned = getattr(before[0], name), getattr(before[1], name)
        now, now_poisoned = getattr(one, name), getattr(two, name)
        differed = was != was_poisoned
        written, alike = masks[storage, True], now == now_poisoned
        assert alike[written & ~differed].all()
        assert (now == was)[~written].all() and (now_poisoned == was_poisoned)[~written].all()
        if not may_keep:
            assert alike[written].all()
    if decoded.mnemonic == "store.dma":
        span = memory_span(decoded.fields)
        inside = np.zeros(len(memory), bool)
        inside[span.start - BASE : span.stop - BASE] = True
        assert np.array_equal(memories[0][~inside], memory[~inside])
        if not decoded.fields["accumulate"]:
            for end in (span.start, span.stop - 1):
                assert memories[0][end - BASE] == memories[1][end - BASE]
    else:
        assert np.array_equal(memories[0], memory)
    return sum(int(mask.sum()) for (_, writes), mask in masks.items() if writes)


@pytest.mark.parametrize("name", ["tiny", "small"])
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name.lower())
def test_instructions_read_and_write_what_they_are_said_to(engine, name):
    config = preset(name, sbuf_depth=1024)
    rng = np.random.default_rng([int(engine), config.n])
    start, other = random_state(config, rng), random_state(config, rng)
    memory = rng.integers(0, 256, DATA_BYTES, dtype=np.uint8)
    ops = random_engine_ops(rng, config, engine, COUNT, np.ones(config.psum_depth, bool))
    written = 0
    for op in ops:
        decoded = decode(encode(op.mnemonic, config, **op.fields))
        written += check_instruction(decoded, start, other, memory)
    assert written > COUNT if engine != Engine.STORE else written == 0


def test_blocks_read_and_write_what_they_are_said_to():
    config = preset("tiny", sbuf_depth=1024, mx=True)
    rng = np.random.default_rng(12)
    start, other = random_state(config, rng), random_state(config, rng)
    common = {"rows": 3, "format": "e4m3fn", "dst": 512, "scale_dst": 900, "scale_stride": -3}
    sbuf = {"x_source": "sbuf", "x_format": 0, "x_addr": 8, "x_stride": 3}
    written = []
    for fields in (
        {"columns": 70} | sbuf,
        {"columns": 33, "dst_stride": 5, "half": "high"},
        {"columns": 33, "transpose": 1, "dst_stride": 8, "partition": 3} | sbuf,
        {"columns": 41, "transpose": 1, "dst_stride": 4, "partition": 2, "packed": 1},
        {"columns": 5, "op0": "mul", "s0_kind": "partition", "s0": 128} | sbuf,
    ):
        decoded = decode(encode("vector.quantise", config, **common | fields))
        written.append(check_instruction(decoded, start, other, np.zeros(64, np.uint8)))
    assert written == [3 * 73, 3 * 35, 3 * 35, 3 * (21 + 2), 3 * 6]


def test_no_word_is_said_to_be_read_that_is_not():
    """Change one word that is read: what comes of it changes, instruction by instruction."""
    config = preset("tiny", sbuf_depth=1024, mx=True)
    rng = np.random.default_rng(3)
    start = random_state(config, rng)
    start.sbuf[:] = rng.integers(0x3F00, 0x4100, start.sbuf.shape)  # ordinary numbers
    element = {"rows": 3, "columns": 6, "dst": 512, "format": 0}
    sbuf = {"x_source": "sbuf", "x_format": 0, "x_addr": 8, "x_stride": 3}
    both = {"y_format": 3, "y_addr": 64, "y_stride": 4, "op0": "mul", "s0_kind": "y"}
    lane = {"op1": "add", "s1_kind": "partition", "s1": 128}
    for mnemonic, fields in (
        ("tensor.load", {"rows": 3, "format": 0, "columns": 4, "addr": 9, "stride": -2}),
        ("tensor.matmul", {"rows": 4, "format": 0, "columns": 5, "addr": 9, "psum_addr": 3}),
        ("tensor.scales", {"columns": 4, "addr": 9, "stride": -2}),
        ("vector.compute", element | sbuf | both | lane | {"format": 3, "dst_stride": 2}),
        ("vector.compute", element | sbuf | {"reduction": "sum", "finish": 1, "format": 3}),
        ("vector.quantise", element | sbuf | {"format": 1, "scale_dst": 600}),
        ("vector.generator", {"addr": 16}),
        ("activation.table", {"kind": "entries", "addr": 5, "count": 3}),
        ("store.dma", {"mem_addr": BASE, "run": 9, "sbuf_addr": 8, "layout": "free"}),
    ):
        decoded = decode(encode(mnemonic, config, **fields))
        mask = said(decoded, config)[Storage.SCRATCHPAD, False]
        assert mask.any()
        memory = np.zeros(64, np.uint8)
        plain = deepcopy(start)
        execute(decoded, plain, memory)
        for partition, word in np.argwhere(mask):
            changed, changed_memory = deepcopy(start), np.zeros(64, np.uint8)
            changed.sbuf[partition, word] ^= 0x0040
            execute(decoded, changed, changed_memory)
            changed.sbuf[partition, word] ^= 0x0040
            names = (*REGISTERS, "sbuf", "significand")
            same = [np.array_equal(getattr(plain, n), getattr(changed, n)) for n in names]
            same.append(np.array_equal(plain.generators.state, changed.generators.state))
            same.append(np.array_equal(memory, changed_memory))
            assert not all(same), (mnemonic, partition, word)
