"""Halves of scratchpad words in the functional simulator: who writes them, who reads them."""

import numpy as np
import pytest

from tegula.config import preset
from tegula.formats import BF16, E4M3FN, E5M2, FP32, format_by_name
from tegula.isa.assembly import assemble
from tegula.isa.operations import Half
from tegula_golden.numerics.cast import cast
from tegula_golden.numerics.codes import decode
from tegula_golden.numerics.gemm import gemm
from tegula_golden.tile.simulator import GoldenTile
from verif.stimuli.operands import operands

SMALL = preset("small")
N = SMALL.n
OPERANDS, RESULTS = 0x4000, 0x8000
HALVES = ("whole", "low", "high")


def succeed(tile, text, memory=None):
    program = assemble(text)
    memory = np.zeros(1 << 16, np.uint8) if memory is None else memory
    memory[: len(program)] = np.frombuffer(program, np.uint8)
    result = tile.run(memory, program=0, program_bytes=len(program))
    assert result.trap is None, result.trap


def filled(columns, seed=3):
    """A tile with random words in its scratchpad, and those words."""
    tile = GoldenTile(SMALL)
    words = np.random.default_rng(seed).integers(0, 1 << 16, (N, columns)).astype(np.uint16)
    tile.write_sbuf(0, words)
    return tile, words


def merged(words, codes, half):
    """Words with the bytes that codes replace, byte by byte."""
    pairs = words.copy().view(np.uint8).reshape(*words.shape, 2)
    pairs[..., 1 if half == "high" else 0] = codes
    if half == "whole":
        pairs[..., 1] = 0
    return pairs.reshape(words.shape[0], -1).view("<u2")


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("fmt", [E4M3FN, E5M2], ids=lambda fmt: fmt.name)
def test_results_of_the_vector_engine_replace_a_half(fmt, half):
    tile, words = filled(64)
    succeed(
        tile,
        f"""
        vector.compute rows={N} x_source=sbuf x_format=bf16 x_addr=0 columns=16 dst=40
            format={fmt.name} half={half}
        halt
        """.replace("\n            format", " format"),
    )
    codes = cast(decode(words[:, :16], BF16).view(np.uint32), fmt)
    got = tile.read_sbuf(0, 64)
    assert (got[:, :40] == words[:, :40]).all()
    assert (got[:, 40:56] == merged(words[:, 40:56], codes, half)).all()
    assert (got[:, 56:] == words[:, 56:]).all()


@pytest.mark.parametrize("half", HALVES)
def test_transposed_results_replace_a_half(half):
    tile, words = filled(64)
    succeed(
        tile,
        f"vector.compute rows={N} x_source=sbuf x_format=bf16 x_addr=0 columns={N} dst=32"
        f" dst_stride={N} transpose=1 format=e4m3fn half={half}\nhalt",
    )
    codes = cast(decode(words[:, :N], BF16).view(np.uint32), E4M3FN)
    got = tile.read_sbuf(0, 64)
    assert (got[:, 32 : 32 + N] == merged(words[:, 32 : 32 + N], codes.T, half)).all()
    assert (got[:, :32] == words[:, :32]).all()
    assert (got[:, 32 + N :] == words[:, 32 + N :]).all()


@pytest.mark.parametrize("name", ["bf16", "fp32", "raw16"])
def test_the_half_of_a_wider_result_means_nothing(name):
    results = []
    for half in HALVES:
        tile, _ = filled(64)
        succeed(
            tile,
            f"vector.compute rows={N} x_source=sbuf x_format=bf16 x_addr=0 columns=4 dst=40"
            f" dst_stride=2 format={name} half={half}\nhalt",
        )
        results.append(tile.read_sbuf(0, 64))
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()


@pytest.mark.parametrize("engine", ["vector", "activation"])
@pytest.mark.parametrize("high", [0, 1])
@pytest.mark.parametrize("name", ["e4m3fn", "e5m2", "bf16"])
def test_operands_come_from_the_half_that_is_named(engine, high, name):
    tile, words = filled(64)
    words[:, 0], words[:, 1] = 0x7F12, 0x127F  # a NaN of either 8-bit format in one half
    words[:, 2] = BF16.nan
    tile.write_sbuf(0, words)
    text = {
        "vector": f"vector.compute rows={N} x_source=sbuf x_format={name} x_high={high} x_addr=0"
        " columns=8 dst=32 dst_stride=2 format=fp32",
        "activation": f"activation.apply rows={N} x_format={name} x_high={high} x_addr=0 columns=8"
        " dst=32 dst_stride=2 format=fp32 function=0",
    }[engine]
    succeed(tile, text + "\nhalt")
    fmt = format_by_name(name)
    codes = words[:, :8]
    if fmt.width == 8:
        codes = (codes >> 8 if high else codes & 0xFF).astype(np.uint8)
    got = np.ascontiguousarray(tile.read_sbuf(32, 16)).view("<u4")
    values = decode(codes, fmt)
    if engine == "vector":
        assert (got == values.view(np.uint32)).all()
    else:  # of an empty table every function is +0, of a NaN it is NaN
        assert (got == np.where(np.isnan(values), 0x7FC0_0000, 0)).all()
        assert 0 < np.isnan(values).sum() < values.size


@pytest.mark.parametrize("half", HALVES)
def test_results_of_the_activation_engine_replace_a_half(half):
    tile, words = filled(64)
    succeed(
        tile,
        f"activation.apply rows={N} x_format=bf16 x_addr=0 columns=8 dst=32 format=e5m2"
        f" half={half} function=0\nhalt",
    )
    nan = np.isnan(decode(words[:, :8], BF16))
    expected = merged(words[:, 32:40], np.where(nan, E5M2.nan, 0).astype(np.uint8), half)
    got = tile.read_sbuf(0, 64)
    assert (got[:, 32:40] == expected).all()
    assert (got[:, 40:] == words[:, 40:]).all()


@pytest.mark.parametrize("fmts", [(E4M3FN, E4M3FN), (E5M2, E4M3FN)], ids=["e4m3", "e5m2"])
def test_a_packed_product_from_memory_to_memory_is_that_of_its_codes(fmts):
    """A with K along its rows, as it is; rows 2p and 2p + 1 of B to the halves of partition p."""
    rng = np.random.default_rng(7)
    m, f, k = N, 24, 2 * N
    a = operands(rng, (m, k), fmts[0], "normal")
    b = operands(rng, (k, f), fmts[1], "normal")
    memory = np.zeros(1 << 16, np.uint8)
    memory[OPERANDS : OPERANDS + a.size] = a.reshape(-1)
    memory[OPERANDS + a.size : OPERANDS + a.size + b.size] = b.reshape(-1)
    at_b = OPERANDS + a.size
    rows = f"run={f} count1={N} mem_stride1={2 * f} sbuf_addr=8 layout=free bytes1=1"
    rows += " partition_stride1=1"
    out = f"mem_addr={RESULTS} run={2 * f} count1={m} mem_stride1={4 * f} sbuf_addr=64"
    succeed(
        GoldenTile(SMALL),
        f"""
        load.dma mem_addr={OPERANDS} run={m * N} sbuf_addr=0 sbuf_stride0=1 layout=partition
        load.dma mem_addr={at_b} half=low {rows}
        load.dma mem_addr={at_b + f} half=high {rows}
        load.sync signal(0+=1)
        tensor.load rows={N} format={fmts[0].name} packed=1 columns={m} addr=0 wait(0>=1)
        tensor.matmul rows={N} format={fmts[1].name} packed=1 addr=8 columns={f} psum_addr=0
        tensor.sync signal(1+=1)
        vector.compute rows={m} format=fp32 columns={f} dst=64 dst_stride=2 wait(1>=1) signal(2+=1)
        store.dma {out} layout=free partition_stride1=1 wait(2>=1)
        halt
        """,
        memory,
    )
    got = memory[RESULTS : RESULTS + 4 * m * f].view("<u4").reshape(m, f)
    assert (got == gemm(a, b, *fmts, FP32)).all()


def test_the_halves_of_the_instruction_set_are_named():
    assert [half.name.lower() for half in Half] == list(HALVES)
