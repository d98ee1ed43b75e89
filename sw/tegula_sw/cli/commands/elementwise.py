"""`tegula cast` and `tegula eval`."""

import argparse
from functools import partial

import numpy as np

from tegula.config import TileConfig, preset
from tegula.formats import MxElement
from tegula_golden.array_types import Words
from tegula_sw.arrays import fp32_bits, load_array, save_array
from tegula_sw.cli.commands.common import as_floats, format_of, make_device, show_progress
from tegula_sw.files.outputs import Outputs, check_outputs
from tegula_sw.gemm.operands import element_codes, mx_element, scale_rule

__all__ = ["cast", "eval"]


def cast(options: argparse.Namespace) -> None:
    """`tegula cast`."""
    config = preset(options.preset)
    if (element := mx_element(options.to, config)) is not None:
        _quantise(options, config, element)
        return
    fmt = format_of("--to", options.to, config, fp32=True, mx=True)
    if options.scales is not None:
        raise ValueError(f"--scales needs --to with a format of MX, not {fmt.name}")
    check_outputs(("-o", options.output))
    bits = fp32_bits(options.x, load_array(options.x))
    random = None
    if options.rounding == "sr":
        if options.random_bits is None:
            raise ValueError("--rounding sr needs --random-bits R.npy")
        random = _random_bits(options.random_bits, bits.shape)
    elif options.random_bits is not None:
        raise ValueError("--random-bits needs --rounding sr")
    if options.device == "golden":
        from tegula_golden.numerics.cast import cast as cast_golden

        codes = cast_golden(bits, fmt, saturate=options.saturate, random=random)
    else:
        from tegula_sw.elementwise.cast import cast_on_device

        device = make_device(options.device, config)
        codes = cast_on_device(device, bits, fmt, saturate=options.saturate, random=random)
    save_array(options.output, as_floats(codes, fmt))


def _quantise(options: argparse.Namespace, config: TileConfig, element: MxElement) -> None:
    """Elements of an MX format, and the scales of their blocks."""
    if options.scales is None:
        raise ValueError(f"--to {element.name} needs --scales S.npy")
    if options.rounding != "rne" or options.random_bits is not None:
        raise ValueError(f"--to {element.name} rounds to nearest even only")
    check_outputs(("-o", options.output), ("--scales", options.scales))
    bits, rule = fp32_bits(options.x, load_array(options.x)), scale_rule(options.scale_rule)
    if bits.ndim == 0 or bits.shape[-1] == 0:
        raise ValueError(
            f"{options.x} must have elements along its last axis: its shape is {bits.shape}"
        )
    if options.device == "golden":
        from tegula_golden.numerics.mx import quantised

        scales, codes = quantised(bits, element, rule)
    else:
        from tegula_sw.elementwise.quantise import quantise_on_device

        device = make_device(options.device, config)
        scales, codes = quantise_on_device(device, bits, element, rule)
    with Outputs() as outputs:
        with outputs.writing(options.output):
            save_array(options.output, element_codes(codes, element))
        with outputs.writing(options.scales):
            save_array(options.scales, scales)


def _random_bits(path: str, shape: tuple[int, ...]) -> Words:
    random = load_array(path)
    if random.dtype.kind != "u" or random.dtype.itemsize != 2:
        raise ValueError(f"{path} must be uint16, not {random.dtype}")
    if random.shape != shape:
        raise ValueError(f"{path} must have the shape {shape} of X, not {random.shape}")
    return random.astype(np.uint16)


def eval(options: argparse.Namespace) -> None:
    """`tegula eval`."""
    from tegula_sw.elementwise.evaluate import check_arity, evaluate_golden, evaluate_on_device

    config = preset(options.preset)
    check_arity(options.operation, options.y is not None)
    check_outputs(("-o", options.output))
    x = load_array(options.x)
    operands = [fp32_bits(options.x, x)]
    if options.y is not None:
        operands.append(fp32_bits(options.y, load_array(options.y)))
        if operands[1].shape != x.shape:
            raise ValueError(
                f"{options.y} {operands[1].shape} must have the shape of {options.x} {x.shape}"
            )
    run = evaluate_golden
    if options.device != "golden":
        run = partial(evaluate_on_device, make_device(options.device, config))
    bits = run(
        options.operation,
        *operands,
        progress=show_progress,
    )
    save_array(options.output, bits.view(np.float32) if x.dtype.kind == "f" else bits)
