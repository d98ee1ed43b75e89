"""Types of the arrays that the model and the software exchange."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bytes", "Codes", "Floats", "Integers", "Mask", "Patterns", "Words"]

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
