"""tegula_golden.numerics.fp32 against MPFR, exact fractions and the words of the contract."""

from fractions import Fraction

import gmpy2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegula.formats import BF16, E3M4, E4M3, E4M3FN, E5M2, FORMATS, FP32
from tegula.isa.operations import Operation, Reduction
from tegula_golden.numerics import fp32, reductions
from tegula_golden.numerics.fp32 import QNAN, RAW16, RAW32
from verif.oracles import numerics as reference
from verif.stimuli.fp32 import PRODUCT_KINDS, SUM_KINDS, addends, factors, special_pairs, specials

SEED = 20_250
MPFR = gmpy2.context(precision=24, emin=-148, emax=128, subnormalize=True)
"""fp32: 2**-149 is 0.1 (binary) * 2**-148; the ternary value makes `subnormalize` round once."""

COMPARISONS = {
    Operation.EQ: lambda x, y: x == y,
    Operation.NE: lambda x, y: x != y,
    Operation.LT: lambda x, y: x < y,
    Operation.LE: lambda x, y: x <= y,
    Operation.GT: lambda x, y: x > y,
    Operation.GE: lambda x, y: x >= y,
}
ALL_KINDS = [
    *(("add", addends, kind) for kind in SUM_KINDS),
    *(("multiply", factors, kind) for kind in PRODUCT_KINDS),
]
every_kind = pytest.mark.parametrize(("name", "draw", "kind"), ALL_KINDS, ids=lambda v: str(v)[:16])


def array(*patterns):
    return np.array(patterns, dtype=np.uint32)


def one(function, *patterns):
    """The result for one pair of patterns."""
    return int(function(*(array(pattern) for pattern in patterns))[0])


def mpfr(name, x, y):
    """The pattern of MPFR's sum or product of two patterns, a NaN being the quiet one."""
    with gmpy2.context(MPFR):
        operands = [gmpy2.mpfr(float(array(pattern).view(np.float32)[0])) for pattern in (x, y)]
        result = operands[0] + operands[1] if name == "add" else operands[0] * operands[1]
    if gmpy2.is_nan(result):
        return int(QNAN)
    return int(np.float32(float(result)).view(np.uint32))


def exact(name, x, y):
    """The pattern of the exact sum or product of two finite patterns, rounded once by fractions."""
    left, right = reference.value(x, FP32), reference.value(y, FP32)
    number = left + right if name == "add" else left * right
    magnitude = min(reference.round_value(number, FP32), FP32.infinity)
    negative = number < 0
    if number == 0:
        negative = x >> 31 and y >> 31 if name == "add" else x >> 31 != y >> 31
    return magnitude | (1 << 31 if negative else 0)


def finite(*arrays):
    return np.logical_and.reduce([(a & 0x7FFF_FFFF) < 0x7F80_0000 for a in arrays])


@every_kind
def test_results_are_those_of_mpfr(name, draw, kind):
    a, b = draw(np.random.default_rng(SEED), 4000, kind)
    expected = [mpfr(name, x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert getattr(fp32, name)(a, b).tolist() == expected
    assert len(set(expected)) > 300


@every_kind
def test_results_are_the_exact_ones_rounded_once(name, draw, kind):
    a, b = draw(np.random.default_rng(SEED + 1), 1500, kind)
    keep = finite(a, b)
    a, b = a[keep], b[keep]
    assert a.size > 1400
    expected = [exact(name, x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert getattr(fp32, name)(a, b).tolist() == expected


@pytest.mark.parametrize("name", ["add", "multiply"])
def test_every_pair_of_specials_is_as_in_mpfr_and_nans_are_quiet(name):
    a, b = special_pairs()
    result = getattr(fp32, name)(a, b)
    expected = [mpfr(name, x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert result.tolist() == expected
    nan = (result & 0x7FFF_FFFF) > 0x7F80_0000
    assert nan.sum() > 500
    assert set(result[nan].tolist()) == {0x7FC0_0000}


@pytest.mark.parametrize(
    ("a", "b", "total"),
    [
        (0x3F80_0000, 0x3380_0000, 0x3F80_0000),  # 1 + 2**-24: a tie, to even
        (0x3F80_0001, 0x3380_0000, 0x3F80_0002),  # a tie, to even above
        (0x3F80_0000, 0x3380_0001, 0x3F80_0001),  # beside the tie
        (0x3F80_0000, 0xB300_0000, 0x3F80_0000),  # 1 - 2**-25: a tie below a binade
        (0x3F80_0000, 0xB300_0001, 0x3F7F_FFFF),
        (0x3F80_0001, 0xBF80_0000, 0x3400_0000),  # cancellation is exact
        (0x3F80_0000, 0xBF80_0000, 0x0000_0000),  # x - x is +0
        (0xBF80_0000, 0x3F80_0000, 0x0000_0000),
        (0x8000_0000, 0x8000_0000, 0x8000_0000),
        (0x8000_0000, 0x0000_0000, 0x0000_0000),
        (0x0000_0001, 0x007F_FFFF, 0x0080_0000),  # subnormals carry into the smallest normal
        (0x0080_0000, 0x8000_0001, 0x007F_FFFF),
        (0x0080_0001, 0x8080_0000, 0x0000_0001),
        (0x7F7F_FFFF, 0x7300_0000, 0x7F80_0000),  # half an ulp above the largest: to even
        (0x7F7F_FFFF, 0x72FF_FFFF, 0x7F7F_FFFF),
        (0x7F80_0000, 0xFF80_0000, 0x7FC0_0000),
        (0xFF80_0000, 0x7F7F_FFFF, 0xFF80_0000),
        (0xFFC1_2345, 0x3F80_0000, 0x7FC0_0000),
    ],
)
def test_sums_at_the_corners(a, b, total):
    assert one(fp32.add, a, b) == one(fp32.add, b, a) == total


@pytest.mark.parametrize(
    ("a", "b", "product"),
    [
        (0x3F80_0001, 0x3FC0_0000, 0x3FC0_0002),  # 1.5 + 1.5 ulp: a tie, to even
        (0x3F80_0003, 0x3FC0_0000, 0x3FC0_0004),
        (0x0000_0001, 0x3F00_0000, 0x0000_0000),  # half the smallest subnormal: a tie
        (0x0000_0003, 0x3F00_0000, 0x0000_0002),
        (0x0000_0001, 0x3F00_0001, 0x0000_0001),
        (0x8000_0001, 0x3F00_0000, 0x8000_0000),
        (0x0000_0001, 0x7F7F_FFFF, 0x34FF_FFFF),
        (0x0080_0000, 0x3F7F_FFFF, 0x0080_0000),  # just below the smallest normal: a tie
        (0x0080_0000, 0x3F7F_FFFE, 0x007F_FFFF),
        (0x0000_0001, 0x0000_0001, 0x0000_0000),
        (0x7F7F_FFFF, 0x3F80_0001, 0x7F80_0000),
        (0x7F7F_FFFF, 0x3F80_0000, 0x7F7F_FFFF),
        (0x7F80_0000, 0x8000_0000, 0x7FC0_0000),
        (0x7F80_0000, 0x8000_0001, 0xFF80_0000),
        (0x8000_0000, 0x3F80_0000, 0x8000_0000),
        (0xFFC1_2345, 0x0000_0000, 0x7FC0_0000),
    ],
)
def test_products_at_the_corners(a, b, product):
    assert one(fp32.multiply, a, b) == one(fp32.multiply, b, a) == product


@pytest.mark.parametrize("op", COMPARISONS, ids=lambda op: op.name)
def test_comparisons_are_those_of_python(op):
    rng = np.random.default_rng(SEED)
    (a, b), (near, opposite) = special_pairs(), addends(rng, 3000, "cancel")
    a = np.concatenate([a, near, near])
    b = np.concatenate([b, opposite, opposite ^ fp32.SIGN_BIT])
    expected = [
        0x3F80_0000 if COMPARISONS[op](x, y) else 0
        for x, y in zip(a.view(np.float32).tolist(), b.view(np.float32).tolist(), strict=True)
    ]
    assert fp32.compare(op, a, b).tolist() == expected
    assert fp32.operate(op, a, b).tolist() == expected
    assert set(expected) == {0, 0x3F80_0000}


def test_with_a_nan_only_ne_holds():
    nans = [pattern for pattern in specials().tolist() if pattern & 0x7FFF_FFFF > 0x7F80_0000]
    assert len(nans) == 10
    for nan in nans:
        for other in (0x3F80_0000, nan):
            held = {
                op
                for op in COMPARISONS
                for pair in ((nan, other), (other, nan))
                if fp32.compare(op, *(array(pattern) for pattern in pair))[0]
            }
            assert held == {Operation.NE}


@pytest.mark.parametrize(
    ("a", "b", "larger", "smaller"),
    [
        (0x0000_0000, 0x8000_0000, 0x0000_0000, 0x8000_0000),
        (0x8000_0000, 0x8000_0001, 0x8000_0000, 0x8000_0001),
        (0xBF80_0000, 0xC000_0000, 0xBF80_0000, 0xC000_0000),
        (0x7F80_0000, 0x7F7F_FFFF, 0x7F80_0000, 0x7F7F_FFFF),
        (0xFF80_0000, 0x0000_0001, 0x0000_0001, 0xFF80_0000),
        (0x7FC0_0001, 0x3F80_0000, 0x7FC0_0000, 0x7FC0_0000),
        (0xFF80_0000, 0xFF80_0001, 0x7FC0_0000, 0x7FC0_0000),
    ],
)
def test_maximum_and_minimum_order_zeros_and_yield_nans(a, b, larger, smaller):
    assert one(fp32.maximum, a, b) == one(fp32.maximum, b, a) == larger
    assert one(fp32.minimum, a, b) == one(fp32.minimum, b, a) == smaller


def test_maximum_and_minimum_are_those_of_the_exact_values():
    """By value and, where that is equal, by sign."""

    def key(pattern):
        number = reference.value(pattern, FP32)
        number = {"+inf": Fraction(2) ** 128, "-inf": -(Fraction(2) ** 128)}.get(number, number)
        return number, -(pattern >> 31)

    a, b = special_pairs()
    checked = 0
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        if "nan" in (reference.value(x, FP32), reference.value(y, FP32)):
            continue
        checked += 1
        assert one(fp32.maximum, x, y) == max(x, y, key=key)
        assert one(fp32.minimum, x, y) == min(x, y, key=key)
    assert checked == 36 * 36


def test_sub_and_rsub_are_sums_with_one_sign_changed():
    a, b = special_pairs()
    assert fp32.operate(Operation.SUB, a, b).tolist() == fp32.add(a, b ^ fp32.SIGN_BIT).tolist()
    assert fp32.operate(Operation.RSUB, a, b).tolist() == fp32.add(b, a ^ fp32.SIGN_BIT).tolist()
    assert one(lambda x, y: fp32.operate(Operation.SUB, x, y), 0x4000_0000, 0x3F80_0000) == (
        0x3F80_0000
    )
    assert one(lambda x, y: fp32.operate(Operation.RSUB, x, y), 0x4000_0000, 0x3F80_0000) == (
        0xBF80_0000
    )


@pytest.mark.parametrize("op", [Operation.PASS, Operation.ABS, Operation.SELECT, Operation.MERGE])
def test_patterns_that_are_only_moved_keep_their_payloads(op):
    a, b = special_pairs()
    expected = {
        Operation.PASS: a,
        Operation.ABS: a & 0x7FFF_FFFF,
        Operation.SELECT: np.where(a << 1 == 0, 0, b),
        Operation.MERGE: np.where(a << 1 == 0, 0, b),
    }[op]
    assert np.array_equal(fp32.operate(op, a, b), expected)


def test_only_merge_keeps_and_only_where_a_is_a_zero():
    a = specials()
    for op in Operation:
        kept = a[fp32.keeps(op, a)].tolist()
        assert kept == ([0, 0x8000_0000] if op == Operation.MERGE else [])


def test_every_operation_has_a_result_of_the_broadcast_shape():
    a, b = specials()[:, None], specials()[None, :6]
    for op in Operation:
        result = fp32.operate(op, a, b)
        assert result.dtype == np.uint32
        assert result.shape == (len(specials()), 6)
        whole = fp32.operate(op, *(side.copy() for side in np.broadcast_arrays(a, b)))
        assert np.array_equal(result, whole)
        assert np.array_equal(fp32.operate(int(op), a, b), result)


@pytest.mark.parametrize("fmt", [BF16, E4M3FN, E5M2, E4M3, E3M4], ids=lambda fmt: fmt.name)
def test_narrow_codes_enter_as_their_values(fmt):
    codes = np.arange(1 << fmt.width, dtype=np.uint32)
    patterns = fp32.decode_pattern(codes, fmt.code)
    assert patterns.dtype == np.uint32
    for code, pattern in zip(codes.tolist(), patterns.tolist(), strict=True):
        number = reference.value(code, fmt)
        assert reference.value(pattern, FP32) == number
        if number == "nan" and fmt is not BF16:
            assert pattern & 0x7FFF_FFFF == QNAN
        assert pattern >> 31 == code >> (fmt.width - 1)


def test_bf16_enters_as_the_upper_half_of_its_pattern_payloads_included():
    codes = np.arange(1 << 16, dtype=np.uint16)
    assert fp32.decode_pattern(codes, BF16.code).tolist() == [c << 16 for c in range(1 << 16)]


def test_patterns_enter_unchanged_and_what_is_above_a_code_is_ignored():
    words = np.concatenate([specials(), specials() ^ np.uint32(0x1234_5678)])
    assert np.array_equal(fp32.decode_pattern(words, FP32.code), words)
    assert np.array_equal(fp32.decode_pattern(words, RAW32), words)
    assert np.array_equal(fp32.decode_pattern(words, RAW16), words & 0xFFFF)
    for fmt in FORMATS:
        masked = words & np.uint32((1 << fmt.width) - 1)
        expected = fp32.decode_pattern(masked, fmt.code)
        assert np.array_equal(fp32.decode_pattern(words, fmt.code), expected)
    halves = words.astype(np.uint16)
    assert np.array_equal(fp32.decode_pattern(halves, RAW16), halves.astype(np.uint32))


JOIN = {
    Reduction.SUM: lambda p, r: mpfr("add", p, r),
    Reduction.MAX: lambda p, r: one(fp32.maximum, p, r),
    Reduction.AMAX: lambda p, r: one(fp32.maximum, p, r & 0x7FFF_FFFF),
}


@pytest.mark.parametrize("kind", JOIN, ids=lambda kind: kind.name)
@pytest.mark.parametrize("elements", [1, 7, 8, 9, 29])
def test_reductions_are_those_of_the_contract_element_by_element(kind, elements):
    rng = np.random.default_rng(SEED + elements)
    results, _ = addends(rng, 3 * elements, "near")
    results = results.reshape(3, elements)
    results[2, -1] = 0xFFC1_2345
    start = reductions.initial_partials(3, kind)
    assert set(start.ravel().tolist()) == {0xFF80_0000 if kind == Reduction.MAX else 0}
    before = start.copy()
    partials = reductions.fold(start, results, kind)
    assert np.array_equal(start, before)
    totals = reductions.combine(partials, kind)
    assert totals.shape == (3,)
    assert int(totals[2]) == QNAN
    join = JOIN[kind]
    for lane in range(3):
        p = before[lane].tolist()
        for i, r in enumerate(results[lane].tolist()):
            p[i % 8] = join(p[i % 8], r)
        assert partials[lane].tolist() == p
        halves = [join(join(p[k], p[k + 4]), join(p[k + 2], p[k + 6])) for k in (0, 1)]
        assert int(totals[lane]) == join(*halves)


@pytest.mark.parametrize("kind", JOIN, ids=lambda kind: kind.name)
def test_a_reduction_that_continues_is_one_of_all_elements_if_the_cut_is_at_eight(kind):
    rng = np.random.default_rng(SEED)
    results, _ = addends(rng, 5 * 24, "near")
    results = results.reshape(5, 24)
    whole = reductions.fold(reductions.initial_partials(5, kind), results, kind)
    first = reductions.fold(reductions.initial_partials(5, kind), results[:, :16], kind)
    assert np.array_equal(reductions.fold(first, results[:, 16:], kind), whole)


PATTERNS = st.integers(0, 2**32 - 1)


@settings(max_examples=300, deadline=None)
@given(a=PATTERNS, b=PATTERNS)
def test_operations_commute(a, b):
    for function in (fp32.add, fp32.multiply, fp32.maximum, fp32.minimum):
        assert one(function, a, b) == one(function, b, a)


@settings(max_examples=300, deadline=None)
@given(a=PATTERNS)
def test_minus_zero_is_neutral_in_sums_and_one_in_products(a):
    expected = int(QNAN) if a & 0x7FFF_FFFF > 0x7F80_0000 else a
    assert one(fp32.add, a, 0x8000_0000) == expected
    assert one(fp32.multiply, a, 0x3F80_0000) == expected


def ordinal(pattern):
    """Place of a pattern on the number line; both zeros are 0."""
    magnitude = pattern & 0x7FFF_FFFF
    return -magnitude if pattern >> 31 else magnitude


@settings(max_examples=500, deadline=None)
@given(a=PATTERNS, b=PATTERNS, step=st.integers(1, 3))
def test_sums_are_monotone_and_products_with_a_positive_number_too(a, b, step):
    place = ordinal(a) + step
    successor = place if place >= 0 else -place | 1 << 31
    if not finite(array(a), array(b), array(successor))[0]:
        return
    assert ordinal(one(fp32.add, a, b)) <= ordinal(one(fp32.add, successor, b))
    b &= 0x7FFF_FFFF
    assert ordinal(one(fp32.multiply, a, b)) <= ordinal(one(fp32.multiply, successor, b))


def test_wrong_arguments_are_named():
    a = specials()
    with pytest.raises(ValueError, match="operands must be uint32 patterns, not float32"):
        fp32.add(a, a.view(np.float32))
    with pytest.raises(ValueError, match="operands must be uint32 patterns, not int"):
        fp32.operate(Operation.PASS, a, 0)
    with pytest.raises(ValueError, match=r"MUL.* is not a comparison"):
        fp32.compare(Operation.MUL, a, a)
    with pytest.raises(ValueError, match="16 is not a valid Operation"):
        fp32.operate(16, a, a)
    with pytest.raises(ValueError, match=r"NONE.* is not a reduction"):
        reductions.initial_partials(4, Reduction.NONE)
    with pytest.raises(ValueError, match=r"not \(2, 7\) and \(2, 3\)"):
        reductions.fold(np.zeros((2, 7), np.uint32), np.zeros((2, 3), np.uint32), Reduction.SUM)
    with pytest.raises(ValueError, match=r"\(lanes, 8\), not \(8,\)"):
        reductions.combine(np.zeros(8, np.uint32), Reduction.SUM)
    with pytest.raises(ValueError, match="no format has the code 8"):
        fp32.decode_pattern(a, 8)
    with pytest.raises(ValueError, match="array of unsigned integers, not 5"):
        fp32.decode_pattern(5, RAW16)
    with pytest.raises(ValueError, match="kind 'odd' is unknown: it must be one of near"):
        addends(np.random.default_rng(0), 1, "odd")
    with pytest.raises(ValueError, match="kind 'odd' is unknown: it must be one of near"):
        factors(np.random.default_rng(0), 1, "odd")


def rounding(name, a, b):
    """Number of ties, and the shares of infinite and of subnormal results."""
    result = getattr(fp32, name)(a, b)
    magnitude = result & 0x7FFF_FFFF
    ties = 0
    keep = finite(a, b, result)
    for x, y, r in zip(a[keep].tolist(), b[keep].tolist(), result[keep].tolist(), strict=True):
        left, right = reference.value(x, FP32), reference.value(y, FP32)
        number = left + right if name == "add" else left * right
        ulp = Fraction(2) ** (max(r >> 23 & 0xFF, 1) - 150)
        ties += abs(reference.value(r, FP32) - number) == ulp / 2
    return ties, np.mean(magnitude == 0x7F80_0000), np.mean(magnitude < 0x0080_0000)


def test_stimuli_are_what_their_kinds_say():
    drawn = {}
    for name, draw, kind in ALL_KINDS:
        drawn[name, kind] = rounding(name, *draw(np.random.default_rng(SEED), 1500, kind))
    ties = {key for key, (count, _, _) in drawn.items() if count > 60}
    assert ties >= {("add", "near"), ("add", "tie"), ("add", "subnormal")}
    assert ties >= {("multiply", "tie"), ("multiply", "underflow_tie")}
    assert 0.1 < drawn["add", "overflow"][1] < 0.9
    assert 0.1 < drawn["multiply", "overflow"][1] < 0.9
    small = {key for key, (_, _, share) in drawn.items() if share > 0.1}
    assert small >= {("add", "subnormal"), ("multiply", "subnormal")}
    assert small >= {("multiply", "underflow"), ("multiply", "underflow_tie")}
