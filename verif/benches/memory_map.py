"""Addresses of the benches' memory."""

__all__ = ["BASE"]

BASE = 0x1_0000
"""Address of the first byte of memory; what is below answers DECERR."""
