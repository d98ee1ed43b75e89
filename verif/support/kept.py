"""Bytes of scratchpad words that a write leaves as they are."""

__all__ = ["KEPT_BITS", "kept_bits"]

KEPT_BITS = (0, 0xFF, 0xFF00, 0xFFFF)
"""Bits of a word that stay, by the `keep` of a write."""


def kept_bits(config, write):
    """Those of a write in simulation; none on tiles whose words hold one code."""
    return KEPT_BITS[int(write.keep)] if config.packed_fp8 else 0
