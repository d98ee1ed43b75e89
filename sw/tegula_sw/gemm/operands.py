"""Operands of products: a user's array to codes of a format, and of MX formats to scales too."""

from dataclasses import dataclass

import numpy as np

from tegula.config import TileConfig
from tegula.formats import MX_BLOCK, MX_ELEMENTS, MXFP4_E2M1, FloatFormat, MxElement, format_by_name
from tegula.isa.operations import ScaleRule
from tegula_golden.array_types import Bytes, Codes
from tegula_golden.numerics.block_scales import check_scales
from tegula_golden.numerics.mx import e2m1_of_e4m3fn, e4m3fn_of_e2m1, quantised
from tegula_sw.arrays import AnyArray, codes_from_array, fp32_operand

__all__ = [
    "Operand",
    "OperandFormat",
    "element_codes",
    "mx_element",
    "operand_format",
    "operand_from_array",
    "scale_rule",
]

OperandFormat = FloatFormat | MxElement
"""Format of an operand: of numbers, or of elements that share a scale."""


@dataclass(frozen=True)
class Operand:
    """A matrix as a tile multiplies it.

    Attributes
    ----------
    codes, fmt
        Codes, and their format.
    scales
        E8M0 codes of blocks of 32 terms of K, shaped as the codes, with ceil(K / 32) in the place
        of K; None: it is not scaled.
    """

    codes: Codes
    fmt: FloatFormat
    scales: Bytes | None = None


def operand_format(name: str, config: TileConfig | None = None) -> OperandFormat:
    """The format or the MX element called `name`; if `config` is given, one that its tile has.

    Raises
    ------
    ValueError
        If there is none.
    """
    element = mx_element(name, config)
    if element is not None:
        return element
    if config is None:
        return format_by_name(name)
    for fmt in config.operand_formats:
        if fmt.name == name:
            return fmt
    known: tuple[OperandFormat, ...] = (*config.operand_formats, *config.mx_elements)
    names = ", ".join(fmt.name for fmt in known)
    raise ValueError(f"{name!r} is unknown: it must be one of {names}")


def mx_element(name: str, config: TileConfig | None = None) -> MxElement | None:
    """The MX element called `name`, if `config` is given one that its tile has, or None."""
    elements = MX_ELEMENTS if config is None else config.mx_elements
    return next((element for element in elements if element.name == name), None)


def element_codes(codes: Bytes, element: MxElement) -> Bytes:
    """Codes of a tile as users have them: of MXFP4 those of E2M1, 0 to 15, a byte each."""
    return e2m1_of_e4m3fn(codes) if element == MXFP4_E2M1 else codes


def scale_rule(name: str) -> ScaleRule:
    """The rule called `name`: "rceil", "floor" or "ceil".

    Raises
    ------
    ValueError
        If there is none.
    """
    for rule in ScaleRule:
        if rule.name.lower() == name:
            return rule
    names = ", ".join(rule.name.lower() for rule in ScaleRule)
    raise ValueError(f"scale rule {name!r} is unknown: it must be one of {names}")


def operand_from_array(
    name: str,
    array: AnyArray,
    fmt: OperandFormat,
    *,
    k_axis: int,
    scales: AnyArray | None = None,
    rule: ScaleRule = ScaleRule.RCEIL,
) -> Operand:
    """A matrix in its format: floats are cast or quantised, unsigned numbers are codes already.

    Parameters
    ----------
    name
        What messages call the array.
    array
        Shape (rows, columns); codes of MXFP4 are those of E2M1, 0 to 15, a byte each.
    fmt
        A format, or the elements of an MX format.
    k_axis
        The axis along which blocks of 32 elements share a scale: that of K.
    scales
        E8M0 codes of these blocks, uint8, shaped as `array` with blocks in the place of elements;
        only with codes of an MX format.
    rule
        How scales of floats are found.

    Raises
    ------
    ValueError
        If the array does not fit the format, or scales are missing, superfluous or do not fit.
    """
    if isinstance(fmt, FloatFormat):
        if scales is not None:
            raise ValueError(f"{name} has scales: its format must be one of MX, not {fmt.name}")
        return Operand(codes_from_array(name, array, fmt), fmt)
    if array.dtype.kind == "u":
        codes = codes_from_array(name, array, fmt.fmt)
        if fmt == MXFP4_E2M1:
            codes = e4m3fn_of_e2m1(codes)
        if scales is None:
            raise ValueError(f"{name} holds codes of {fmt.name}: their scales must be given")
        check_scales(scales, _scales_shape(codes.shape, k_axis), f"scales of {name}")
        return Operand(codes, fmt.fmt, scales)
    if scales is not None:
        raise ValueError(f"{name} holds floats, whose scales are computed: none may be given")
    bits = np.moveaxis(fp32_operand(name, array, f"{fmt.name} codes as uint8"), k_axis, -1)
    of_blocks, elements = quantised(np.ascontiguousarray(bits), fmt, rule)
    codes, found = (
        np.ascontiguousarray(np.moveaxis(each, -1, k_axis)) for each in (elements, of_blocks)
    )
    return Operand(codes, fmt.fmt, found)


def _scales_shape(shape: tuple[int, ...], k_axis: int) -> tuple[int, ...]:
    blocks = list(shape)
    blocks[k_axis] = -(-shape[k_axis] // MX_BLOCK)
    return tuple(blocks)
