"""Arithmetic of MX blocks against the golden model: scales, and elements up to their cast."""

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.mx import MxCompress, MxExpand, kind_layout, scale_of
from tegula.config import preset
from tegula.formats import E4M3FN, E5M2, MX_ELEMENTS, MXFP4_E2M1, MXFP8_E5M2
from tegula.isa.operations import ScaleRule
from tegula_golden.numerics.cast import cast
from tegula_golden.numerics.mx import block_scales, scaled_elements
from verif.stimuli.fp32 import specials
from verif.stimuli.mx import BLOCK_KINDS, blocks, edge_blocks
from verif.support.unit_bench import settle, stream_through

SEED = 11
ELEMENTS = pytest.mark.parametrize("element", MX_ELEMENTS, ids=lambda e: e.name)


class Scale(wiring.Component):
    """`scale_of` between ports."""

    def __init__(self, config):
        self._config = config
        super().__init__({"magnitude": In(31), "kind": In(kind_layout()), "scale": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.scale.eq(scale_of(m, self._config, self.magnitude, self.kind))
        return m


def kind_of(element, rule):
    return {"e2m1": element is MXFP4_E2M1, "e5m2": element is MXFP8_E5M2, "rule": rule}


@pytest.mark.parametrize("rule", ScaleRule, ids=lambda rule: rule.name.lower())
@ELEMENTS
def test_scales_are_those_of_golden_at_every_edge(element, rule):
    edges = (edge_blocks(SEED) & 0x7FFF_FFFF).max(axis=1)
    magnitudes = np.concatenate([edges, specials() & 0x7FFF_FFFF])
    kind = kind_of(element, rule)
    inputs = ({"magnitude": value, "kind": kind} for value in magnitudes.tolist())
    actual = settle(Scale(preset("tiny")), inputs, "scale")
    wanted = block_scales(magnitudes.astype(np.uint32)[:, None], element, rule)[:, 0]
    assert actual == wanted.tolist()
    assert len(set(actual)) > 240


@pytest.mark.parametrize("fmt", [E4M3FN, E5M2], ids=lambda fmt: fmt.name)
def test_a_tile_of_one_format_has_its_scales(fmt):
    config = preset("tiny", fp8_formats=(fmt,))
    magnitudes = np.arange(0, 0x7F80_0000, 0x0053_1111, dtype=np.uint32)
    for element in config.mx_elements:
        kind = kind_of(element, ScaleRule.RCEIL)
        inputs = ({"magnitude": value, "kind": kind} for value in magnitudes.tolist())
        wanted = block_scales(magnitudes[:, None], element, ScaleRule.RCEIL)[:, 0]
        assert settle(Scale(config), inputs, "scale") == wanted.tolist()


def codes_of(bits, scales, element):
    """Codes of the hardware's numbers: `bits` and the scale of each, any shape."""
    items = ({"pattern": pattern} for pattern in bits.reshape(-1).tolist())
    dut = MxCompress()
    stored = stream_through(dut, items, dut.compressed.as_value(), dut.LATENCY)
    dut = MxExpand()
    e2m1 = element is MXFP4_E2M1
    layout = dut.compressed.shape()
    numbers = stream_through(
        dut,
        (
            {"compressed": layout.from_bits(word), "scale": scale, "e2m1": e2m1, "is_scale": 0}
            for word, scale in zip(stored, scales.reshape(-1).tolist(), strict=True)
        ),
        "number",
        dut.LATENCY,
    )
    patterns = np.array(numbers, dtype=np.uint32).reshape(bits.shape)
    return cast(patterns, element.fmt, saturate=True)


@pytest.mark.parametrize("rule", ScaleRule, ids=lambda rule: rule.name.lower())
@ELEMENTS
def test_elements_are_those_of_golden_behind_a_saturating_cast(element, rule):
    rng = np.random.default_rng(SEED)
    drawn = [blocks(rng, 40, kind, element) for kind in BLOCK_KINDS]
    bits = np.concatenate([*drawn, edge_blocks(SEED)[::23]])
    scales = block_scales(bits, element, rule)
    actual = codes_of(bits, np.repeat(scales, 32, axis=1), element)
    wanted = scaled_elements(bits, scales, element)
    wrong = np.argwhere(actual != wanted)
    assert len(wrong) == 0, [
        f"{bits[i, j]:#x} by {scales[i, 0]}: {actual[i, j]:#x}, not {wanted[i, j]:#x}"
        for i, j in wrong[:5]
    ]
    assert len(np.unique(actual)) >= (14 if element is MXFP4_E2M1 else 230)


@ELEMENTS
def test_subnormal_numbers_are_normalised_wherever_their_first_one_is(element):
    ones = [(1 << bit) + low for bit in range(23) for low in (0, (1 << bit) - 1, (1 << bit) // 2)]
    bits = np.array([*ones, *(one | 1 << 31 for one in ones), 0, 1 << 31], dtype=np.uint32)
    for scale in (0, 1, 5, 12, 17, 30):
        scales = np.full((len(bits), 1), scale, dtype=np.uint8)
        actual = codes_of(bits[:, None], scales, element)
        assert (actual == scaled_elements(bits[:, None], scales, element)).all(), scale
    assert len(np.unique(codes_of(bits, np.zeros(len(bits), np.uint8), element))) > 5


def test_a_scale_passes_as_its_code():
    dut = MxExpand()
    word = dut.compressed.shape().from_bits(0x5A5A)
    items = ({"compressed": word, "scale": s, "e2m1": s & 1, "is_scale": 1} for s in range(256))
    assert stream_through(dut, items, "number", dut.LATENCY) == list(range(256))
