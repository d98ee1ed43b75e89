"""Formats, devices, recorders and progress of all commands."""

import argparse
import sys

import numpy as np

from tegula.config import TileConfig
from tegula.formats import FP32, FloatFormat
from tegula_golden.array_types import Codes, Floats
from tegula_sw.devices.base import Device
from tegula_sw.gemm.operands import OperandFormat, operand_format
from tegula_sw.profile.recording import Recorder

__all__ = [
    "as_floats",
    "format_of",
    "make_device",
    "make_recorder",
    "note",
    "operand_format_of",
    "show_progress",
]

_TRACE_NEEDS_RTL = "--trace needs --device rtl: golden has no clock"


def format_of(
    option: str, name: str, config: TileConfig, *, fp32: bool = False, mx: bool = False
) -> FloatFormat:
    """The format called `name`, if the tile has it; with `mx` messages name those of MX too."""
    formats = (*config.operand_formats, FP32) if fp32 else config.operand_formats
    for fmt in formats:
        if fmt.name == name:
            return fmt
    names = [fmt.name for fmt in formats]
    if mx:
        names += [element.name for element in config.mx_elements]
    known = ", ".join(names)
    raise ValueError(f"{option} {name!r} is unknown: it must be one of {known}")


def operand_format_of(option: str, name: str, config: TileConfig) -> OperandFormat:
    """The format or the MX element called `name`, if the tile multiplies it."""
    try:
        return operand_format(name, config)
    except ValueError as error:
        raise ValueError(f"{option} {error}") from None


def make_device(
    name: str,
    config: TileConfig,
    *,
    mem_latency: int = 20,
    stall: float = 0.0,
    seed: int = 0,
    recorder: Recorder | None = None,
) -> Device:
    """The device; the options are those of `RtlDevice`: golden has neither clock nor bus."""
    if name == "golden":
        from tegula_sw.devices.golden import GoldenDevice

        return GoldenDevice(config)
    from tegula_sw.devices.rtl.device import RtlDevice

    note(f"building or finding the RTL of preset {config.name}")
    return RtlDevice(config, mem_latency=mem_latency, stall=stall, seed=seed, recorder=recorder)


def show_progress(number: int, total: int) -> None:
    """Report on a terminal which program starts; numbers are from 0 on."""
    note(f"running program {number + 1} of {total}")


def note(message: str) -> None:
    """Print a line on a terminal."""
    if sys.stderr.isatty():
        print(f"tegula: {message}", file=sys.stderr)


def make_recorder(options: argparse.Namespace, label: str) -> Recorder | None:
    """Recorder for a trace, or None if none is requested."""
    if options.trace is None:
        return None
    if options.device != "rtl":
        raise ValueError(_TRACE_NEEDS_RTL)
    return Recorder(label=label)


def as_floats(codes: Codes, fmt: FloatFormat) -> Codes | Floats:
    """Codes in the dtype of outputs: those of fp32 as float32."""
    return codes.view(np.float32) if fmt == FP32 else codes
