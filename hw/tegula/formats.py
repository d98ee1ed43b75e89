"""Floating-point formats as data.

A format is a row of a table; nothing in the project has a code path of its own for one format.

Sources: OCP 8-bit Floating Point Specification (OFP8) rev 1.0, table 2 (E4M3FN, E5M2); IEEE
754-2019 (fp32); bf16 is the upper half of an IEEE fp32 word. The IEEE-like E4M3 and E3M4 are what
ml_dtypes calls `float8_e4m3` and `float8_e3m4`. OCP Microscaling Formats (MX) v1.0 (elements of
blocks that share a scale).
"""

from dataclasses import dataclass

__all__ = [
    "BF16",
    "E3M4",
    "E4M3",
    "E4M3FN",
    "E5M2",
    "FORMATS",
    "FORMAT_BITS",
    "FP32",
    "MXFP4_E2M1",
    "MXFP8_E4M3",
    "MXFP8_E5M2",
    "MX_BLOCK",
    "MX_ELEMENTS",
    "PATTERN_CODES",
    "RAW16",
    "RAW32",
    "FloatFormat",
    "MxElement",
    "format_by_code",
    "format_by_name",
    "format_names",
]


FORMAT_BITS = 3
"""Bits of a format's code."""


@dataclass(frozen=True, kw_only=True)
class FloatFormat:
    """A binary floating-point format with sign, biased exponent and trailing significand.

    Attributes
    ----------
    name
        Name on the command line and in assembly.
    code
        Value of a format field in an instruction, of `FORMAT_BITS` bits.
    exponent_bits, mantissa_bits
        Field widths; the word is ``1 + exponent_bits + mantissa_bits`` bits wide.
    ieee_specials
        True: the all-ones exponent holds the infinities and NaNs (IEEE 754). False: it holds finite
        numbers, except that all-ones exponent and significand are NaN; there is no infinity ("FN").
    """

    name: str
    code: int
    exponent_bits: int
    mantissa_bits: int
    ieee_specials: bool

    @property
    def width(self) -> int:
        """Width of a code, in bits."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def bias(self) -> int:
        """Exponent bias."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def min_exponent(self) -> int:
        """Unbiased exponent of the smallest normal, and of all subnormals."""
        return 1 - self.bias

    @property
    def unit_exponent(self) -> int:
        """Exponent of the smallest number: all finite ones are multiples of two to its power."""
        return self.min_exponent - self.mantissa_bits

    @property
    def magnitude_mask(self) -> int:
        """Mask of everything but the sign."""
        return (1 << (self.width - 1)) - 1

    @property
    def sign_mask(self) -> int:
        """Mask of the sign: the code of -0."""
        return 1 << (self.width - 1)

    @property
    def one(self) -> int:
        """Code of 1.0."""
        return self.bias << self.mantissa_bits

    @property
    def unit_spaced(self) -> int:
        """Code of ``2**mantissa_bits``: the first binade whose numbers are one apart.

        An integer below that number, put into the trailing significand, is added to it.
        """
        return (self.bias + self.mantissa_bits) << self.mantissa_bits

    @property
    def infinity(self) -> int | None:
        """Magnitude code of infinity, or None where the format has none."""
        if not self.ieee_specials:
            return None
        return ((1 << self.exponent_bits) - 1) << self.mantissa_bits

    @property
    def max_finite(self) -> int:
        """Magnitude code of the largest finite number."""
        return self.magnitude_mask - 1 if self.infinity is None else self.infinity - 1

    @property
    def nan(self) -> int:
        """Magnitude code of the NaN that casts produce."""
        if self.infinity is None:
            return self.magnitude_mask
        return self.infinity | (1 << (self.mantissa_bits - 1))


BF16 = FloatFormat(name="bf16", code=0, exponent_bits=8, mantissa_bits=7, ieee_specials=True)
E4M3FN = FloatFormat(name="e4m3fn", code=1, exponent_bits=4, mantissa_bits=3, ieee_specials=False)
E5M2 = FloatFormat(name="e5m2", code=2, exponent_bits=5, mantissa_bits=2, ieee_specials=True)
FP32 = FloatFormat(name="fp32", code=3, exponent_bits=8, mantissa_bits=23, ieee_specials=True)
E4M3 = FloatFormat(name="e4m3", code=4, exponent_bits=4, mantissa_bits=3, ieee_specials=True)
E3M4 = FloatFormat(name="e3m4", code=5, exponent_bits=3, mantissa_bits=4, ieee_specials=True)

FORMATS = (BF16, E4M3FN, E5M2, FP32, E4M3, E3M4)

RAW32, RAW16 = 6, 7
"""Codes of format fields that stand for patterns of 32 and 16 bits, which no cast changes."""

PATTERN_CODES = {"raw32": RAW32, "raw16": RAW16}


MX_BLOCK = 32
"""Consecutive elements that share a scale (MX)."""


@dataclass(frozen=True, kw_only=True)
class MxElement:
    """Elements of a block that share a scale (MX), and the codes in which a tile holds them.

    Attributes
    ----------
    name
        Name of the MX format in lower case.
    exponent_bits, mantissa_bits
        Field widths of an element; its bias is that of `FloatFormat`.
    largest
        Magnitude code of the largest number, in the element's own encoding.
    fmt
        Format of the codes in a tile: the element's own, or one that has all of its numbers.
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    largest: int
    fmt: FloatFormat

    @property
    def min_exponent(self) -> int:
        """Unbiased exponent of the smallest normal, and of all subnormals."""
        return 2 - (1 << (self.exponent_bits - 1))

    @property
    def largest_exponent(self) -> int:
        """Unbiased exponent of the largest number: ``emax`` of the MX specification."""
        return (self.largest >> self.mantissa_bits) + self.min_exponent - 1

    @property
    def largest_fraction(self) -> int:
        """Trailing significand of the largest number as that of an fp32 pattern."""
        fraction = self.largest & ((1 << self.mantissa_bits) - 1)
        return fraction << (FP32.mantissa_bits - self.mantissa_bits)


MXFP8_E4M3 = MxElement(
    name="mxfp8_e4m3", exponent_bits=4, mantissa_bits=3, largest=E4M3FN.max_finite, fmt=E4M3FN
)
MXFP8_E5M2 = MxElement(
    name="mxfp8_e5m2", exponent_bits=5, mantissa_bits=2, largest=E5M2.max_finite, fmt=E5M2
)
MXFP4_E2M1 = MxElement(
    name="mxfp4_e2m1", exponent_bits=2, mantissa_bits=1, largest=0b111, fmt=E4M3FN
)

MX_ELEMENTS = (MXFP8_E4M3, MXFP8_E5M2, MXFP4_E2M1)


def format_names() -> dict[str, int]:
    """Name -> code of all that a format field may hold."""
    return {fmt.name: fmt.code for fmt in FORMATS} | PATTERN_CODES


_BY_CODE = {fmt.code: fmt for fmt in FORMATS}


def format_by_code(code: int) -> FloatFormat:
    """The format whose `code` is this; the codes of raw patterns are no format's.

    Raises
    ------
    ValueError
        If there is no such format.
    """
    if code not in _BY_CODE:
        raise ValueError(f"no format has the code {code!r}")
    return _BY_CODE[code]


def format_by_name(name: str) -> FloatFormat:
    """The format called `name`.

    Raises
    ------
    ValueError
        If there is no such format; the message lists those there are.
    """
    for candidate in FORMATS:
        if candidate.name == name:
            return candidate
    known = ", ".join(f.name for f in FORMATS)
    raise ValueError(f"format {name!r} is unknown: it must be one of {known}")
