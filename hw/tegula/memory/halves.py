"""Halves of scratchpad words: who takes a byte, and what its write leaves as it is.

Only tiles with `packed_fp8` have any of it: for others the fields are none.
"""

from amaranth.hdl import Cat, Mux, Value

from tegula.config import TileConfig
from tegula.isa.operations import Half

__all__ = ["high_fields", "kept_bytes", "kept_fields", "low_code", "placed_code"]


def kept_fields(config: TileConfig) -> dict[str, int]:
    """Bytes of each word that a write leaves as they are."""
    return {"keep": 2} if config.packed_fp8 else {}


def high_fields(config: TileConfig) -> dict[str, int]:
    """Whether an operand's code is the high byte of its word."""
    return {"x_high": 1} if config.packed_fp8 else {}


def kept_bytes(half: Value) -> Value:
    """Mask `keep` of a write to a `Half` of words."""
    return Cat(half == Half.HIGH, half == Half.LOW)


def placed_code(word: Value, keep: Value) -> Value:
    """A word to write: its low byte is in the high one too if the low one is kept."""
    return Cat(word[:8], Mux(keep[0], word[:8], word[8:16]), word[16:])


def low_code(word: Value, high: Value) -> Value:
    """A word that was read, with the high byte of its first 16 bits in the low one if `high`."""
    return Cat(Mux(high, word[8:16], word[:8]), word[8:])
