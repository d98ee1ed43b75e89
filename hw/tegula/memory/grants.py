"""Grants of scratchpad reads that the vector engine and the scratchpad find each by itself."""

from amaranth.hdl import Mux, Value
from amaranth.lib import data

from tegula.lib.mux import select

__all__ = ["is_taken", "meet"]


def is_taken(taken: Value, request: data.View) -> Value:
    """1 if a bank that `request` (`pair_request_layout`) needs is among those that are `taken`."""
    banks = list(taken)
    pairs = [even | odd for even, odd in zip(banks[::2], banks[1::2], strict=True)]
    bank = request.addr[: (len(banks) - 1).bit_length()]
    return Mux(request.double, select(pairs, bank[1:]), select(banks, bank))


def meet(first: data.View, second: data.View, banks: int) -> Value:
    """1 if two requests need the same of so many banks."""
    bits = (banks - 1).bit_length()
    same_pair = first.addr[1:bits] == second.addr[1:bits]
    return same_pair & (first.double | second.double | (first.addr[0] == second.addr[0]))
