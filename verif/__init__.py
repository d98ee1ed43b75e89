"""Judges of the hardware, the golden model and the software."""

from pathlib import Path

__all__ = ["ROOT"]

ROOT = Path(__file__).resolve().parents[1]
"""Folder of the checkout."""
