"""Properties of a format that is known by its code only when the hardware runs."""

from amaranth.hdl import Cat, Value

from tegula.config import TileConfig
from tegula.formats import FP32, RAW16, RAW32

__all__ = ["is_narrow", "is_raw", "is_wide"]


def is_wide(code: Value) -> Value:
    """1 if an element of the format is two words."""
    return (code == FP32.code) | (code == RAW32)


def is_narrow(code: Value, config: TileConfig) -> Value:
    """1 if an element of the format has 8 bits."""
    return Cat(code == fmt.code for fmt in config.fp8_formats).any()


def is_raw(code: Value) -> Value:
    """1 if the format is a pattern that no cast changes."""
    return (code == RAW32) | (code == RAW16)
