"""OperandDecode against Fraction arithmetic, over every code."""

from fractions import Fraction
from functools import cache

import pytest

from tegula.config import preset
from tegula.formats import BF16, E3M4, E4M3, E4M3FN, E5M2
from tegula.tensor.operand import OperandDecode
from verif.support.unit_bench import simulate

NARROW = (E4M3FN, E5M2, E4M3, E3M4)


def decode(codes, fmt, *, enable=1, narrow=NARROW):
    """(sig, exp, special, zero) of each code, by simulation."""
    dut = OperandDecode(preset("tiny", fp8_formats=narrow))
    selection = [int(each is fmt) for each in (BF16, *narrow)]
    results = []

    async def testbench(ctx):
        ctx.set(dut.selection, selection)
        ctx.set(dut.enable, enable)
        for code in codes:
            ctx.set(dut.code, code)
            await ctx.delay(1e-9)
            operand = ctx.get(dut.operand)
            results.append((operand.sig, operand.exp, operand.special, operand.zero))

    simulate(dut, testbench, clocked=False)
    assert len(results) == len(codes)
    return results


@cache
def decode_all(fmt):
    """The same for every code of `fmt`."""
    return decode(range(1 << fmt.width), fmt)


def fields(code, fmt):
    """(sign, exponent field, mantissa) of a code."""
    exponent = code >> fmt.mantissa_bits & ((1 << fmt.exponent_bits) - 1)
    return code >> (fmt.width - 1), exponent, code & ((1 << fmt.mantissa_bits) - 1)


def value(code, fmt):
    """The exact value of a finite code; "nan", "+inf" or "-inf" of another."""
    sign, exponent, mantissa = fields(code, fmt)
    magnitude = code & fmt.magnitude_mask
    if fmt.infinity is not None and magnitude == fmt.infinity:
        return "-inf" if sign else "+inf"
    if magnitude > fmt.max_finite:
        return "nan"
    significand = mantissa + ((1 << fmt.mantissa_bits) if exponent else 0)
    power = max(exponent, 1) - fmt.bias - fmt.mantissa_bits
    return (-1) ** sign * significand * Fraction(2) ** power


@pytest.mark.parametrize("fmt", [BF16, *NARROW], ids=lambda fmt: fmt.name)
def test_every_finite_code_keeps_its_value_and_specials_their_class(fmt):
    finite = 0
    for code, (sig, exp, special, zero) in enumerate(decode_all(fmt)):
        expected = value(code, fmt)
        assert zero == (sig == 0), hex(code)
        if isinstance(expected, str):
            assert special == 1, hex(code)
            assert sig == {"nan": 0, "+inf": 1, "-inf": -1}[expected], hex(code)
        else:
            finite += 1
            assert special == 0, hex(code)
            assert sig * Fraction(2) ** (exp - 134) == expected, hex(code)
    assert finite == 2 * (fmt.max_finite + 1)


def test_bf16_exponents_are_the_field_and_at_least_one():
    checked = 0
    for code, (sig, exp, special, _) in enumerate(decode_all(BF16)):
        if not special:
            assert exp == max(fields(code, BF16)[1], 1)
            assert abs(sig) <= 255
            checked += 1
    assert checked == 2 * (BF16.max_finite + 1)


@pytest.mark.parametrize("fmt", NARROW, ids=lambda fmt: fmt.name)
def test_every_nonzero_finite_fp8_code_is_normalised(fmt):
    codes = [code for code in range(256) if 0 < code & fmt.magnitude_mask <= fmt.max_finite]
    results = [decode_all(fmt)[code] for code in codes]
    assert len(results) > 200
    assert all(128 <= abs(sig) <= 255 and 1 <= exp <= 254 for sig, exp, _, _ in results)


@pytest.mark.parametrize("fmt", [BF16, *NARROW], ids=lambda fmt: fmt.name)
def test_a_disabled_operand_is_zero_whatever_its_code(fmt):
    codes = range(0, 1 << fmt.width, 1 if fmt.width == 8 else 31)
    results = decode(codes, fmt, enable=0)
    assert {(sig, special, zero) for sig, _, special, zero in results} == {(0, 0, 1)}


def test_the_high_byte_of_a_narrow_code_is_ignored():
    codes = range(256)
    assert decode(codes, E5M2) == decode([code | 0xA500 for code in codes], E5M2)


def test_a_tile_without_narrow_formats_decodes_bf16():
    codes = range(0, 1 << 16, 17)
    assert decode(codes, BF16, narrow=()) == decode(codes, BF16)


def test_infinity_times_zero_is_the_significand_product_of_nan():
    (infinity,) = decode([BF16.infinity], BF16)
    (nothing,) = decode([0], BF16)
    assert infinity[2] | nothing[2] == 1
    assert infinity[0] * nothing[0] == 0
