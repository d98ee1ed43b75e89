"""Products by limbs against Python's, at the ends of the ranges and between."""

import random

import pytest
from amaranth.hdl import Module, Shape, Signal

from tegula.arith.multiply import multiplied
from verif.support.unit_bench import simulate

CYCLES = 2
VECTORS = 500
SEED = 3
UNSIGNED = ((24, 36), (18, 18), (36, 12))
SIGNED = ((18, 17), (10, 30), (29, 24), (35, 34), (33, 9))
"""Bits of a and b, where a is unsigned and where it is signed."""


def factors(rng, shape):
    """Values of a shape: its ends, numbers around 0, and any."""
    low, high = (-1 << shape.width - 1, 1 << shape.width - 1) if shape.signed else (0, 0)
    high = high or 1 << shape.width
    ends = [low, low + 1, high - 1, high - 2, 0, 1, max(low, -1)]
    return [
        rng.choice(ends) if rng.random() < 0.3 else rng.randrange(low, high) for _ in range(VECTORS)
    ]


@pytest.mark.parametrize(
    ("signed", "a_bits", "b_bits"),
    [(False, *bits) for bits in UNSIGNED] + [(True, *bits) for bits in SIGNED],
)
def test_a_product_comes_two_cycles_after_its_factors(signed, a_bits, b_bits):
    rng = random.Random(SEED)
    m = Module()
    a, b = Signal(Shape(a_bits, signed)), Signal(b_bits)
    result = multiplied(m, a, b, name="product")
    pairs = list(zip(factors(rng, a.shape()), factors(rng, b.shape()), strict=True))
    products = []

    async def testbench(ctx):
        for cycle in range(VECTORS + CYCLES):
            if cycle < VECTORS:
                ctx.set(a, pairs[cycle][0])
                ctx.set(b, pairs[cycle][1])
            *_, product = await ctx.tick().sample(result)
            if cycle >= CYCLES:
                products.append(product)

    simulate(m, testbench)
    assert products == [x * y for x, y in pairs]
