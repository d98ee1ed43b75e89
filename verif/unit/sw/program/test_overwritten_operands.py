"""`overwrites_operand` finds what a walk over the elements, one after the other, finds."""

import numpy as np
import pytest

from tegula.config import preset
from tegula.formats import BF16, E4M3FN, FP32, RAW16, RAW32
from tegula.isa.codec import decode, encode
from tegula.isa.operations import Operand, Operation, Reduction, Rounding, Source
from tegula_sw.program.footprint import overwrites_operand

TINY = preset("tiny", sbuf_depth=256, mx=True)
WIDE = (FP32.code, RAW32)
UNARY = (Operation.PASS, Operation.ABS)


def element(first, step, stride, code):
    """Words of an element."""
    return {first + step * stride + half for half in range(2 if code in WIDE else 1)}


def read_by(mnemonic, fields, step):
    """Words that an element reads."""
    words = set()
    if mnemonic == "activation.apply" or fields["x_source"] == Source.SBUF:
        words |= element(fields["x_addr"], step, fields["x_stride"], fields["x_format"])
    if mnemonic == "vector.compute":
        kinds = [(Operation(fields[f"op{n}"]), fields[f"s{n}_kind"]) for n in (0, 1)]
        takes_y = any(op not in UNARY and kind == Operand.Y for op, kind in kinds)
        if takes_y or fields["rounding"] == Rounding.GIVEN:
            words |= element(fields["y_addr"], step, fields["y_stride"], fields["y_format"])
    return words


def written_by(fields, step):
    """Words that an element writes, and the scale of its block."""
    if "scale_dst" in fields:
        scale = fields["scale_dst"] + step // 32 * fields["scale_stride"]
        rest = {name: value for name, value in fields.items() if name != "scale_dst"}
        return {scale} | written_by(rest, step)
    if not fields.get("transpose"):
        return element(fields["dst"], step, fields["dst_stride"], fields["format"])
    row = fields["partition"] + (step // 2 if fields.get("packed") else step)
    line = fields["dst"] + row // TINY.n * fields["dst_stride"]
    return {line + row for row in range(fields["rows"])}


def first_overwritten(mnemonic, fields):
    """Words that the first such element writes although a later one reads them."""
    for step in range(fields["columns"]):
        later = set()
        for other in range(step + 1, fields["columns"]):
            later |= read_by(mnemonic, fields, other)
        found = {w for w in written_by(fields, step) & later if 0 <= w < TINY.sbuf_depth}
        if found:
            return found
    return set()


def random_fields(rng, mnemonic):
    """An instruction whose operands and results often meet, and sometimes leave the scratchpad."""

    def address():
        return int(rng.choice([0, 1, 8, 9, TINY.sbuf_depth - 4]) + rng.integers(0, 12))

    formats = [BF16.code, E4M3FN.code, FP32.code]
    if mnemonic == "vector.compute":
        formats += [RAW16, RAW32]
    fields = {"rows": int(rng.integers(1, TINY.n + 1)), "columns": int(rng.integers(1, 12))}
    fields |= {"format": int(rng.choice(formats)), "x_format": int(rng.choice(formats))}
    fields |= {"x_addr": address(), "dst": address()}
    strides = ("x_stride", "dst_stride")
    if mnemonic == "vector.quantise":
        transpose = int(rng.integers(2))
        fields |= {
            "columns": int(rng.integers(1, 70)),
            "format": E4M3FN.code,
            "x_source": int(rng.choice([Source.PSUM, Source.SBUF])),
            "scale_dst": address(),
            "transpose": transpose,
            "packed": transpose and int(rng.integers(2)),
            "partition": int(rng.integers(TINY.n)),
        }
        return fields | {name: int(rng.integers(-4, 5)) for name in (*strides, "scale_stride")}
    if mnemonic == "activation.apply":
        fields["function"] = 0
    else:
        strides += ("y_stride",)
        fields |= {"y_format": int(rng.choice(formats)), "y_addr": address()}
        fields |= {
            "x_source": int(rng.choice(list(Source))),
            "op0": int(rng.choice([Operation.ADD, *UNARY])),
            "op1": int(rng.choice([Operation.ADD, *UNARY])),
            "s0_kind": int(rng.integers(4)),
            "s1_kind": int(rng.integers(4)),
            "rounding": int(rng.choice(list(Rounding))),
            "reduction": int(rng.choice([0, 0, 0, 0, Reduction.MAX])),
            "transpose": 0 if fields["format"] in WIDE else int(rng.integers(2)),
            "partition": int(rng.integers(TINY.n)),
        }
    return fields | {name: int(rng.integers(-4, 5)) for name in strides}


@pytest.mark.parametrize("mnemonic", ["vector.compute", "vector.quantise", "activation.apply"])
def test_an_element_that_a_later_one_reads_is_found(mnemonic):
    rng = np.random.default_rng(17)
    found = 0
    for _ in range(3000):
        decoded = decode(encode(mnemonic, TINY, **random_fields(rng, mnemonic)))
        want = first_overwritten(mnemonic, decoded.fields)
        if decoded.fields.get("reduction"):
            want = set()  # its only result comes behind all elements
        got = overwrites_operand(decoded, TINY)
        assert got in want if want else got is None, decoded.fields
        found += bool(want)
    assert 300 < found < 2700


@pytest.mark.parametrize(("ahead", "word"), [(0, None), (-2, None), (2, 12), (1, 11), (16, None)])
def test_results_may_lie_at_or_before_their_operands(ahead, word):
    fields = {"rows": 2, "columns": 8, "format": 0, "x_format": 0, "x_source": "sbuf"}
    code = encode("vector.compute", TINY, **fields, x_addr=10, dst=10 + ahead)
    assert overwrites_operand(decode(code), TINY) == word


def test_other_instructions_have_no_such_elements():
    for mnemonic, fields in (
        ("vector.generator", {"addr": 0}),
        ("load.dma", {"mem_addr": 0, "run": 1, "sbuf_addr": 0, "layout": "free"}),
    ):
        assert overwrites_operand(decode(encode(mnemonic, TINY, **fields)), TINY) is None
