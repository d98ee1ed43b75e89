"""Properties of a format that is known by its code only when the hardware runs."""

from amaranth.hdl import Cat, Value

from tegula.config import TileConfig
from tegula.formats import FP32, RAW16, RAW32

__all__ = ["is_narrow", "is_raw", "is_wide", "narrow_selection"]


def is_wide(code: Value) -> Value:
    """1 if an element of the format is two words."""
    return (code == FP32.code) | (code == RAW32)


def narrow_selection(code: Value, config: TileConfig) -> Value:
    """The 8-bit format with this code, one-hot over `config.fp8_formats`; 0 of another format."""
    return Cat(code == fmt.code for fmt in config.fp8_formats)


def is_narrow(code: Value, config: TileConfig) -> Value:
    """1 if an element of the format has 8 bits."""
    return narrow_selection(code, config).any()


def is_raw(code: Value) -> Value:
    """1 if the format is a pattern that no cast changes."""
    return (code == RAW32) | (code == RAW16)
