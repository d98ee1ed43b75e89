"""Attributes of block RAM that synthesis reads."""

__all__ = ["NO_RW_CHECK"]

NO_RW_CHECK = {"no_rw_check": 1}
"""No reader asks for a word in the cycle in which it is written, or it does not care what it gets.

Without it Yosys builds a bypass around each memory, so that such a read gives the old word, as the
Verilog says: 180 LUT4 a partition of PSUM, for a case that does not occur.
"""
