"""Description of a configuration: sizes, widths, latencies, rates, guarantees."""

from dataclasses import fields

from tegula.config import TileConfig
from tegula.formats import FloatFormat
from tegula.xor128 import DEFAULT_STATE

__all__ = ["describe", "exact_terms", "format_text"]

_HIDDEN_BIT = 128
"""Operands are brought to bf16's significand: the hidden bit and seven more."""

_PRODUCT_FRACTION_BITS = 14
_RENORMALISED_FROM = 63 << 22
"""A PSUM word is renormalised when its sum reaches this many units of a product at the anchor."""


def _max_exponent(fmt: FloatFormat) -> int:
    return (fmt.max_finite >> fmt.mantissa_bits) - fmt.bias


def _max_significand(fmt: FloatFormat) -> int:
    fraction = fmt.max_finite & ((1 << fmt.mantissa_bits) - 1)
    return _HIDDEN_BIT + (fraction << (7 - fmt.mantissa_bits))


def exact_terms(config: TileConfig, fmt_a: FloatFormat, fmt_b: FloatFormat) -> int | None:
    """The largest K for which every finite dot product of the two formats is exact before reading.

    Then its result is the correctly rounded sum, whatever the order of k and the tiling. A sum is
    exact while the smallest product's last bit is not below the last bit of the partial sum. With
    the largest product at the anchor `spare` bits separate them; each renormalisation takes one,
    and there are at most `spare` of them while ``K * largest product < 63 * 2**(22 + spare)`` units
    (docs/numerics.md).

    Parameters
    ----------
    fmt_a, fmt_b
        Operand formats.

    Returns
    -------
    int or None
        None: not exact for any K beyond one, in general.
    """
    anchor_unit = _max_exponent(fmt_a) + _max_exponent(fmt_b) - _PRODUCT_FRACTION_BITS
    smallest = fmt_a.min_exponent - fmt_a.mantissa_bits + fmt_b.min_exponent - fmt_b.mantissa_bits
    spare = smallest - (anchor_unit - config.guard_bits)
    if spare < 0:
        return None
    largest = _max_significand(fmt_a) * _max_significand(fmt_b)
    return ((_RENORMALISED_FROM << spare) - 1) // largest


def _combine_cycles(adder_latency: int, groups: int = 1) -> int:
    """Cycles in which a `Combiner` makes one result of eight, for each of the groups."""
    from amaranth.hdl import Fragment

    from tegula.arith.combine import Combiner

    combiner = Combiner(adder_latency, groups)
    Fragment.get(combiner, None)  # a component that is never elaborated makes a warning
    return combiner.CYCLES


def _latencies(config: TileConfig) -> dict[str, int]:
    """Cycles, from the constants that the hardware's tests assert."""
    from tegula.activation.lane import LaneCycles
    from tegula.activation.layouts import beats
    from tegula.arith.fp_add import FpAdd
    from tegula.memory.ports import PAIR_READ_CYCLES, TENSOR_READ_CYCLES
    from tegula.tensor.engine import load_period, signal_cycles
    from tegula.tensor.psum import reuse_cycles
    from tegula.tensor.systolic_array import result_cycles
    from tegula.vector.lane import ENTRY_CYCLES, UNIT_CYCLES, VectorLane

    cast = VectorLane.CAST_CYCLES
    return {
        "scratchpad_read_of_tensor_engine": TENSOR_READ_CYCLES,
        "scratchpad_read_of_vector_engine": PAIR_READ_CYCLES,
        "array_moving_to_result": result_cycles(config),
        "matmul_last_column_to_signal": signal_cycles(config),
        "psum_word_reuse": reuse_cycles(config),
        "stationary_load_and_matmul_period": load_period(config),
        "vector_element_to_write": ENTRY_CYCLES + 1 + cast,
        "vector_more_for_each_step": UNIT_CYCLES,
        "vector_reduction_finish": _combine_cycles(UNIT_CYCLES) + cast,
        "activation_element_to_result": LaneCycles.WORD,
        "activation_sum_finish": _combine_cycles(FpAdd.LATENCY + 1, beats(config)) + cast,
    }


def _rates(config: TileConfig) -> dict[str, int]:
    """Cycles from one to the next, without conflicts in the scratchpad's banks.

    A vector element is one of each partition; it takes longer where its operations need a unit
    twice, or the adder three times (`plan_route`). A column of the activation engine passes its
    lanes, and is requested when the one before has arrived; one of fp32 has two rows.
    """
    from tegula.activation.layouts import beats
    from tegula.dma.accumulate import chunk_steps
    from tegula.memory.ports import BANK_READ_CYCLES

    row, two_rows = BANK_READ_CYCLES + 1, BANK_READ_CYCLES + 2
    return {
        "vector_element": 1,
        "vector_element_one_unit_twice": 2,
        "vector_element_adder_three_times": 3,
        "vector_element_transposed": config.n // config.row_words,
        "activation_column": max(beats(config), row),
        "activation_column_of_fp32": max(beats(config), two_rows),
        "activation_column_summed": max(2 * beats(config), row),
        "activation_table_entry": two_rows,
        "activation_table_descriptor": row,
        "dma_accumulate_beat": chunk_steps(config),
    }


def describe(config: TileConfig) -> dict[str, dict[str, object]]:
    """Sections of names and values, fit for JSON."""
    formats = config.operand_formats
    settings = {
        field.name: getattr(config, field.name)
        for field in fields(config)
        if field.type is int or field.name == "name"
    }
    guarantees = {
        f"exact_terms_{a.name}_{b.name}": exact_terms(config, a, b)
        for i, a in enumerate(formats)
        for b in formats[i:]
    }
    return {
        "configuration": settings
        | {"operand_formats": [fmt.name for fmt in formats], "result_formats": "these and fp32"},
        "sizes": {
            "peak_macs_per_cycle": config.peak_macs_per_cycle,
            "sbuf_bytes": config.sbuf_bytes,
            "psum_words": config.psum_depth,
            "psum_bytes_as_fp32": config.psum_bytes,
            "vector_lanes": config.n,
            "random_generators": config.n,
            "activation_lanes": config.activation_lanes,
            "function_table_entries": config.activation_entries,
            "function_table_descriptors": config.activation_entries,
        },
        "widths": {
            "psum_word_bits": config.psum_width,
            "guard_bits": config.guard_bits,
            "bus_bytes": config.bus_bytes,
            "scratchpad_line_words": config.bus_words,
            "random_generator_bits": 32 * len(DEFAULT_STATE),
        },
        "latencies_cycles": _latencies(config),
        "rates_cycles": _rates(config),
        "guarantees": guarantees | {"function_errors": "docs/functions.md"},
    }


def _value_text(value: object) -> str:
    if value is None:
        return "-"
    return ", ".join(value) if isinstance(value, list) else str(value)


def format_text(description: dict[str, dict[str, object]]) -> str:
    """The description as an indented table."""
    width = max(len(name) for section in description.values() for name in section)
    lines = []
    for title, section in description.items():
        lines.append(title)
        lines += [f"  {name:<{width}}  {_value_text(value)}" for name, value in section.items()]
    lines.append("exact_terms: longest sums that are exact before reading (- : none is guaranteed)")
    return "\n".join(lines)
