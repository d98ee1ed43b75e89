"""Multiplexers by index and by priority."""

from collections.abc import Sequence

from amaranth.hdl import Mux, Value

__all__ = ["prioritised", "select"]


def prioritised(choices: Sequence[tuple[Value, Value]], otherwise: Value) -> Value:
    """Value of the first of (condition, value) whose condition holds; `otherwise` if none does."""
    for condition, value in reversed(choices):
        otherwise = Mux(condition, value, otherwise)
    return otherwise


def select(words: Sequence[Value], index: Value) -> Value:
    """``words[index]`` as a tree of two-way multiplexers, one level a bit of `index`.

    An `Array` becomes a decoder and an and-or of all words instead: half as large again on a LUT4
    fabric (1152 against 768 LUT4 for eight words of 128 bits, Yosys, ECP5).

    Raises
    ------
    ValueError
        If the number of words is not 2 to the bits of `index` (or 1).
    """
    words = [Value.cast(word) for word in words]
    if len(words) != 1 << len(index):
        raise ValueError(f"{len(words)} words cannot be selected by {len(index)} bits")
    for bit in index:
        words = [Mux(bit, odd, even) for even, odd in zip(words[::2], words[1::2], strict=True)]
    return words[0]
