"""Types of the arrays that the model and the software exchange."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["Bytes", "Codes", "Floats", "Integers", "Mask", "Patterns", "Words", "check_array"]

Patterns = NDArray[np.uint32]
"""fp32 bit patterns, and random numbers of 32 bits."""

Words = NDArray[np.uint16]
"""Words of the scratchpad, and random numbers of 16 bits."""

Bytes = NDArray[np.uint8]
"""Memory."""

Codes = NDArray[np.unsignedinteger]
"""Codes of a format: uint8, uint16 or uint32 by its width."""

Floats = NDArray[np.float32]
"""Numbers before they are cast, and after."""

Integers = NDArray[np.signedinteger]
"""Addresses, indices, significands and exponents."""

Mask = NDArray[np.bool_]
"""A choice of elements."""


def check_array(array: NDArray[Any], dtype: DTypeLike, name: str, kind: str = "") -> None:
    """Check that an argument is an array of a dtype.

    Parameters
    ----------
    name, kind
        What messages call the argument, and what its elements are, as in " of bf16".

    Raises
    ------
    ValueError
        If it is none.
    """
    expected = np.dtype(dtype)
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} must be a {expected} array, not {type(array).__name__}")
    if array.dtype != expected:
        raise ValueError(f"{name}{kind} must be {expected}, not {array.dtype}")
