"""vector.quantise in the functional simulator: where scales and codes go, and what traps."""

import numpy as np
import pytest

from tegula.config import TileConfig, preset
from tegula.formats import E4M3FN, E5M2, FP32, MX_ELEMENTS, MXFP8_E4M3
from tegula.isa.assembly import assemble
from tegula.isa.instructions import Engine
from tegula.isa.operations import Half, Operation, ScaleRule
from tegula.isa.traps import Trap
from tegula_golden.numerics.fp32 import operate
from tegula_golden.numerics.gemm import gemm
from tegula_golden.numerics.mx import quantised
from tegula_golden.tile.simulator import GoldenTile
from verif.stimuli.mx import blocks

SMALL = preset("small", mx=True)
N = SMALL.n
X, DST, SCALES, ONES = 0, 0x400, 0x300, 0x3F0
WORDS = 0x800


class Run:
    """A tile with fp32 numbers at X, after one instruction."""

    def __init__(self, columns: int, fields: str, config: TileConfig = SMALL, seed: int = 5):
        rng = np.random.default_rng(seed)
        whole = -(-columns // 32)
        kinds = ("edge", "wide", "tie")
        self.bits = np.stack(
            [blocks(rng, whole, kinds[p % 3]).reshape(-1)[:columns] for p in range(N)]
        )
        self.tile = GoldenTile(config)
        self.before = rng.integers(0, 1 << 16, (N, WORDS)).astype(np.uint16)
        self.before[:, X : X + 2 * columns] = self.bits.view(np.uint16)
        self.tile.write_sbuf(0, self.before)
        text = f"vector.quantise rows={N} columns={columns} x_source=sbuf x_addr={X} x_stride=2"
        scales = "" if "scale_dst" in fields else f"scale_dst={SCALES}"
        program = assemble(f"{text} {scales} {fields}\nhalt")
        memory = np.zeros(1 << 12, np.uint8)
        memory[: len(program)] = np.frombuffer(program, np.uint8)
        self.trap = self.tile.run(memory, program=0, program_bytes=len(program)).trap
        self.after = self.tile.read_sbuf(0, WORDS)

    def assert_only(self, *changed: slice) -> None:
        """All words but these are as before."""
        same = np.ones(WORDS, bool)
        for words in changed:
            same[words] = False
        assert (self.after[:, same] == self.before[:, same]).all()


@pytest.mark.parametrize("rule", ScaleRule, ids=lambda rule: rule.name.lower())
@pytest.mark.parametrize("element", MX_ELEMENTS, ids=lambda e: e.name)
def test_scales_and_codes_are_words_of_their_partition(element, rule):
    e2m1 = int(element.name == "mxfp4_e2m1")
    fields = f"format={element.fmt.name} e2m1={e2m1} rule={rule.name.lower()}"
    run = Run(96, f"{fields} dst={DST} dst_stride=2 scale_stride=3")
    assert run.trap is None
    scales, codes = quantised(run.bits, element, rule)
    assert (run.after[:, DST : DST + 192 : 2] == codes).all()
    assert (run.after[:, SCALES : SCALES + 9 : 3] == scales).all()
    run.assert_only(slice(DST, DST + 192, 2), slice(SCALES, SCALES + 9, 3))


@pytest.mark.parametrize("columns", [1, 31, 33, 70])
def test_the_last_block_has_what_is_left(columns):
    run = Run(columns, f"format=e4m3fn dst={DST}")
    scales, codes = quantised(run.bits, MXFP8_E4M3, ScaleRule.RCEIL)
    assert (run.after[:, DST : DST + columns] == codes).all()
    last = -(-columns // 32)
    assert (run.after[:, SCALES : SCALES + last] == scales).all()
    run.assert_only(slice(DST, DST + columns), slice(SCALES, SCALES + last))


def test_operations_come_before_the_scale():
    half = 0x3F00_0000
    run = Run(40, f"format=e4m3fn dst={DST} op0=mul s0={half} op1=max s1_kind=self")
    product = operate(Operation.MUL, run.bits, np.full((N, 1), half, np.uint32))
    scales, codes = quantised(product, MXFP8_E4M3, ScaleRule.RCEIL)
    assert (run.after[:, DST : DST + 40] == codes).all()
    assert (run.after[:, SCALES : SCALES + 2] == scales).all()


@pytest.mark.parametrize("half", [Half.LOW, Half.HIGH], ids=lambda half: half.name.lower())
def test_codes_take_the_half_that_is_named_and_scales_whole_words(half):
    run = Run(40, f"format=e4m3fn dst={DST} half={half.name.lower()}")
    scales, codes = quantised(run.bits, MXFP8_E4M3, ScaleRule.RCEIL)
    shift = 8 * (half == Half.HIGH)
    words = run.before[:, DST : DST + 40] & (0xFF00 >> shift) | codes.astype(np.uint16) << shift
    assert (run.after[:, DST : DST + 40] == words).all()
    assert (run.after[:, SCALES : SCALES + 2] == scales).all()


def test_transposed_codes_of_an_element_lie_along_a_partition():
    run = Run(40, f"format=e4m3fn dst={DST} dst_stride=32 transpose=1 partition=3")
    scales, codes = quantised(run.bits, MXFP8_E4M3, ScaleRule.RCEIL)
    wanted = run.before.copy()
    for i in range(40):
        group, partition = divmod(3 + i, N)
        wanted[partition, DST + 32 * group : DST + 32 * group + N] = codes[:, i]
    wanted[:, SCALES : SCALES + 2] = scales
    assert (run.after == wanted).all()


def test_packed_codes_share_words_two_by_two():
    fields = f"format=e5m2 dst={DST} dst_stride=16 transpose=1 packed=1 partition=5 half=high"
    run = Run(39, fields)
    scales, codes = quantised(run.bits, MX_ELEMENTS[1], ScaleRule.RCEIL)
    codes, wanted = codes.astype(np.uint16), run.before.copy()
    for i in range(39):
        group, partition = divmod(5 + i // 2, N)
        words = wanted[partition, DST + 16 * group : DST + 16 * group + N]
        words[:] = words & 0xFF | codes[:, i] << 8 if i % 2 else words & 0xFF00 | codes[:, i]
    wanted[:, SCALES : SCALES + 2] = scales
    assert (run.after == wanted).all()


def test_packed_codes_are_operands_of_a_matmul():
    """K of 2N along the elements of a partition, which is a row of A^T and of B^T."""
    rng = np.random.default_rng(8)
    k = 2 * N
    values = rng.standard_normal((2, N, k)).astype(np.float32)
    tile = GoldenTile(SMALL)
    tile.write_sbuf(0, np.concatenate(list(values), axis=1).view(np.uint16))
    take = f"vector.quantise rows={N} columns={k} x_source=sbuf x_stride=2 transpose=1 packed=1"
    multiply = f"rows={N} packed=1 columns={N}"
    program = assemble(
        f"""
        {take} x_addr=0 format=e4m3fn dst=256 scale_dst=300
        {take} x_addr={2 * k} format=e5m2 dst=264 scale_dst=301 signal(0+=1)
        tensor.load {multiply} format=e4m3fn addr=256 wait(0>=1)
        tensor.matmul {multiply} format=e5m2 addr=264 psum_addr=0 signal(1+=1)
        vector.compute rows={N} columns={N} format=fp32 dst=320 dst_stride=2 wait(1>=1)
        halt
        """
    )
    memory = np.zeros(1 << 12, np.uint8)
    memory[: len(program)] = np.frombuffer(program, np.uint8)
    assert tile.run(memory, program=0, program_bytes=len(program)).trap is None
    _, a = quantised(values[0].view(np.uint32), MXFP8_E4M3, ScaleRule.RCEIL)
    _, b = quantised(values[1].view(np.uint32), MX_ELEMENTS[1], ScaleRule.RCEIL)
    got = np.ascontiguousarray(tile.read_sbuf(320, 2 * N)).view("<u4")
    wanted = gemm(a, np.ascontiguousarray(b.T), E4M3FN, E5M2, FP32)
    assert (got == wanted).all()
    assert len(np.unique(got)) > N


def test_a_scale_is_written_before_the_codes_of_its_block_and_after_those_of_the_last():
    run = Run(64, f"format=e4m3fn dst={SCALES - 31} scale_stride=1")
    scales, codes = quantised(run.bits, MXFP8_E4M3, ScaleRule.RCEIL)
    # Code 31 lies on the first scale; the second scale on code 32, which is written behind it.
    assert (run.after[:, SCALES - 31 : SCALES + 33] == codes).all()
    run = Run(64, f"format=e4m3fn dst={SCALES - 30} scale_stride=1")
    assert (run.after[:, SCALES : SCALES + 1] == codes[:, 30:31]).all()
    assert (run.after[:, SCALES + 1 : SCALES + 2] == scales[:, 1:2]).all()


def test_zeros_that_merge_would_keep_are_written():
    run = Run(32, f"format=e4m3fn dst={DST} op0=merge s0={0x3F800000}")
    one = np.where(run.bits & 0x7FFF_FFFF, np.uint32(0x3F80_0000), np.uint32(0))
    _, codes = quantised(one, MXFP8_E4M3, ScaleRule.RCEIL)
    assert (run.after[:, DST : DST + 32] == codes).all()


LAST = SMALL.sbuf_depth - 1


@pytest.mark.parametrize(
    ("fields", "cause", "address", "done"),
    [
        # The third element of the second block.
        (f"dst={LAST - 33}", Trap.SBUF_RANGE, LAST + 1, 32),
        (f"dst={DST} scale_stride=-{SCALES + 1}", Trap.SBUF_RANGE, (1 << 20) - 1, 32),
        (f"dst={DST} transpose=1 dst_stride=4", Trap.SBUF_ALIGNMENT, DST + 4, 0),
        (f"dst={DST + 8 * 5} dst_stride=-8 scale_dst={LAST + 1}", Trap.SBUF_RANGE, LAST + 1, 0),
    ],
)
def test_a_block_that_traps_leaves_nothing(fields, cause, address, done):
    run = Run(70, f"format=e4m3fn {fields}")
    assert (run.trap.engine, run.trap.pc) == (Engine.VECTOR, 0)
    assert (run.trap.cause, run.trap.address) == (cause, address)
    scales, codes = quantised(run.bits, MXFP8_E4M3, ScaleRule.RCEIL)
    if not done:
        run.assert_only()
        return
    assert (run.after[:, SCALES] == scales[:, 0]).all()
    if f"dst={DST} " in fields:
        assert (run.after[:, DST : DST + 32] == codes[:, :32]).all()
        run.assert_only(slice(SCALES, SCALES + 1), slice(DST, DST + 32))
    else:
        run.assert_only(slice(SCALES, SCALES + 1))
        end = run.tile.read_sbuf(LAST - 33, 34)
        assert (end[:, :32] == codes[:, :32]).all()
        assert not end[:, 32:].any()


def test_of_a_blocks_first_element_the_scale_is_checked_before_the_destination():
    run = Run(4, f"format=e4m3fn dst={LAST + 1}")
    assert (run.trap.cause, run.trap.address) == (Trap.SBUF_RANGE, LAST + 1)
    run = Run(4, f"format=e4m3fn dst={LAST + 1} scale_dst={LAST + 2}")
    assert (run.trap.cause, run.trap.address) == (Trap.SBUF_RANGE, LAST + 2)


def test_a_tile_without_it_does_not_know_the_opcode():
    run = Run(4, f"format=e4m3fn dst={DST}", preset("small", mx=False))
    assert (run.trap.cause, run.trap.engine) == (Trap.ILLEGAL_OPCODE, Engine.CONTROL)
    assert (run.trap.pc, run.trap.address) == (0, 0x23)
    run.assert_only()
