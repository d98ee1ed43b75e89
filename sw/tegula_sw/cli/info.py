"""Description of a configuration: sizes, widths, latencies, rates, guarantees."""

from dataclasses import fields

from tegula.config import TileConfig
from tegula.formats import FloatFormat
from tegula.xor128 import DEFAULT_STATE
from tegula_sw.program.timing.latencies import latencies

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


def _latencies(config: TileConfig) -> dict[str, int]:
    """Cycles, from the constants that the hardware's tests assert."""
    lat = latencies(config)
    return {
        "doorbell_to_fetch_request": lat.fetch_request,
        "fetched_beat_to_dispatch": lat.granule + lat.decode,
        "queue_to_engine": lat.instruction,
        "signal_to_end_of_wait": lat.signal,
        "rest_to_interrupt": lat.rest + lat.end,
        "scratchpad_read_of_tensor_engine": lat.tensor_bank + lat.read,
        "scratchpad_read_of_vector_engine": lat.vector_bank + lat.read,
        "array_moving_to_result": lat.result,
        "matmul_last_column_to_signal": lat.matmul,
        "psum_word_reuse": lat.reuse,
        "stationary_load_and_matmul_period": lat.period,
        "vector_element_to_write": lat.vector,
        "vector_more_for_each_step": lat.unit,
        "vector_reduction_finish": lat.combine,
        "activation_element_to_result": lat.word,
        "activation_sum_finish": lat.total,
        "dma_instruction_to_request": lat.request,
        "load_beat_to_write": lat.beat_to_write,
        "store_read_to_beat": lat.chunk_bank + lat.read + lat.words_to_beat,
    }


def _rates(config: TileConfig) -> dict[str, int]:
    """Cycles from one to the next, without conflicts in the scratchpad's banks.

    A vector element is one of each partition; it takes longer where its operations need a unit
    twice, or the adder three times (`plan_route`). A column of the activation engine passes its
    lanes, and is requested when there are words for it; one of fp32 has two rows. Rows of tables
    follow each other: an entry has two.
    """
    lat = latencies(config)
    return {
        "vector_element": config.vector_folding,
        "vector_element_one_unit_twice": 2 * config.vector_folding,
        "vector_element_adder_three_times": 3 * config.vector_folding,
        "vector_element_transposed": config.vector_folding * config.line_beats,
        "activation_column": lat.column,
        "activation_column_of_fp32": lat.column_of_fp32,
        "activation_column_summed": max(2 * lat.beats, lat.column),
        "activation_table_entry": 2,
        "activation_table_descriptor": 1,
        "dma_accumulate_beat": lat.accumulate,
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
        | {
            "operand_formats": [fmt.name for fmt in formats],
            "result_formats": "these and fp32",
            "block_elements": [e.name for e in config.mx_elements] or None,
        },
        "sizes": {
            "peak_macs_per_cycle": config.peak_macs_per_cycle,
            "peak_packed_macs_per_cycle": 2 * config.peak_macs_per_cycle * config.packed_fp8,
            "sbuf_bytes": config.sbuf_bytes,
            "psum_words": config.psum_depth,
            "psum_bytes_as_fp32": config.psum_bytes,
            "vector_lanes": config.vector_lanes,
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
