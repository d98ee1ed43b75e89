"""The functions of the library: their pieces, and the tolerance of each.

Reduction `float` sees an argument as ``(1 + f) * 2**n``, reduction `exp` sees it times log2(e) as
``n + f``. Functions that go like a power of 2**n have a gain, so that their relative error does not
depend on n. How many segments a piece has follows from its tolerance.
"""

from collections.abc import Callable, Sequence
from functools import cache

import gmpy2
from gmpy2 import mpfr

from tegula.formats import FP32
from tegula_golden.numerics.function_table import Gain
from tegula_sw.functions.cubic import Entry, cubics, cubics_within
from tegula_sw.functions.spec import FunctionSpec, Piece

__all__ = ["NAMES", "function"]

_ONE = 1 << 30
_FLOAT_WINDOW = 32
_EXP_WINDOW = 64
_ANY_N_FLOAT = 127
_ANY_N_EXP = 511
"""A `low` that n never passes: the window's first descriptor serves every n."""

_ZERO = Piece.of_pattern(0)
_MINUS_ZERO = Piece.of_pattern(FP32.sign_mask)
_HALF = Piece.of_pattern(0x3F00_0000)
_UNITY = Piece.of_pattern(FP32.one)
_INFINITY = Piece.of_pattern(0x7F80_0000)
_MINUS_INFINITY = Piece.of_pattern(0xFF80_0000)
_NAN = Piece.of_pattern(FP32.nan)
_LARGEST_POWER = Piece.of_pattern(0x7F00_0000)

_IDENTITY = Piece((Entry(_ONE, _ONE),), Gain.N)

_FINE = 0.1
"""Tolerance of the exponential, in ulps of fp32 before the last rounding."""

_MEDIUM = 0.5
"""Tolerance of the other functions whose pieces serve many n."""

_COARSE = 1.0
"""Tolerance of functions with a piece for each n."""

_STEEP = 16.0
"""Tolerance of GELU and its gradient between -4 and -2."""

_SHOULDER = 0.125 * 2**16
_TAIL = 0.5 * 2**16
"""Tolerances between -8 and -4, and below, where they vanish: an eighth and half of a bf16 ulp."""

_SMALLEST_NORMAL = 2.0**-126


def _fitted(
    f: Callable[[mpfr], mpfr], tolerance_ulps: float, gain: Gain = Gain.NONE, floor: float = 0
) -> Piece:
    return Piece(cubics_within(f, tolerance_ulps, floor=floor).entries, gain)


def _scaled(g: Callable[[mpfr], mpfr], n: int, tolerance_ulps: float = _COARSE) -> Piece:
    """A function that goes like its argument, for the arguments with this n."""
    return _fitted(lambda f: g((1 + f) * gmpy2.exp2(n)) * gmpy2.exp2(-n), tolerance_ulps, Gain.N)


def _absolute(
    g: Callable[[mpfr], mpfr], n: int, tolerance_ulps: float = _COARSE, floor: float = 0
) -> Piece:
    """Any function, for the arguments with this n."""
    return _fitted(lambda f: g((1 + f) * gmpy2.exp2(n)), tolerance_ulps, floor=floor)


def _float_function(
    name: str,
    specials: tuple[Piece, Piece, Piece, Piece],
    low: int,
    positive: Sequence[Piece],
    negative: Sequence[Piece] = (),
    **flags: bool,
) -> FunctionSpec:
    """A function of reduction `float`: `negative` begins 32 descriptors after `positive`."""
    unused = (_NAN,) * (_FLOAT_WINDOW - len(positive)) if negative else ()
    return FunctionSpec(
        name=name,
        pieces=(*specials, *positive, *unused, *negative),
        reduction="float",
        low=low,
        **flags,
    )


def _window(piece: Callable[[int], Piece], low: int) -> list[Piece]:
    """Pieces for the n of a window of reduction `float`."""
    return [piece(n) for n in range(low, low + _FLOAT_WINDOW)]


def _exp2() -> Piece:
    return _fitted(gmpy2.exp2, _FINE, Gain.N)


def _exp() -> FunctionSpec:
    pieces = (_UNITY, _UNITY, _INFINITY, _ZERO, _exp2())
    return FunctionSpec(name="exp", pieces=pieces, reduction="exp", low=_ANY_N_EXP)


def _ln() -> FunctionSpec:
    # The weight of the error is the logarithm's own size: it is +0 at 1, exactly.
    logarithm = Piece(cubics(gmpy2.log1p, 5, exponent=0).entries)
    specials = (_MINUS_INFINITY, _MINUS_INFINITY, _INFINITY, _NAN)
    return _float_function("ln", specials, _ANY_N_FLOAT, [logarithm], [_NAN], log=True)


def _recip() -> FunctionSpec:
    specials = (_INFINITY, _MINUS_INFINITY, _ZERO, _MINUS_ZERO)
    reciprocal = _fitted(lambda f: 1 / (1 + f), _MEDIUM, Gain.MINUS_N)
    return _float_function("recip", specials, _ANY_N_FLOAT, [reciprocal], odd=True)


def _even_odd(g: Callable[[mpfr], mpfr], gain: Gain) -> list[Piece]:
    """A function of the root of its argument, for even n and for odd n."""
    fractions = [lambda f: g(1 + f), lambda f: g(2 * (1 + f))]
    return [_fitted(fraction, _MEDIUM, gain) for fraction in fractions]


def _rsqrt() -> FunctionSpec:
    specials = (_INFINITY, _MINUS_INFINITY, _ZERO, _NAN)
    even_odd = _even_odd(gmpy2.rec_sqrt, Gain.MINUS_HALF_N)
    return _float_function("rsqrt", specials, 0, even_odd, [_NAN, _NAN], parity=True)


def _sqrt() -> FunctionSpec:
    specials = (_ZERO, _MINUS_ZERO, _INFINITY, _NAN)
    even_odd = _even_odd(gmpy2.sqrt, Gain.HALF_N)
    return _float_function("sqrt", specials, 0, even_odd, [_NAN, _NAN], parity=True)


def _sigmoid() -> FunctionSpec:
    low, last = -25, 24

    def piece(n: int) -> Piece:
        if n == low:
            return _exp2()
        if n < 0:
            return _fitted(lambda f: gmpy2.exp2(f) / (1 + gmpy2.exp2(n + f)), _COARSE, Gain.N)
        if n <= last:
            return _fitted(lambda f: 1 / (1 + gmpy2.exp2(-n - f)), _COARSE)
        return _UNITY

    window = (piece(n) for n in range(low, low + _EXP_WINDOW))
    pieces = (_HALF, _HALF, _UNITY, _ZERO, *window)
    return FunctionSpec(name="sigmoid", pieces=pieces, reduction="exp", low=low)


def _tanh() -> FunctionSpec:
    low, last = -13, 3

    def piece(n: int) -> Piece:
        if n == low:
            return _IDENTITY
        return _scaled(gmpy2.tanh, n) if n <= last else _UNITY

    specials = (_ZERO, _MINUS_ZERO, _UNITY, Piece.of_pattern(0xBF80_0000))
    return _float_function("tanh", specials, low, _window(piece, low), odd=True)


def _normal_cdf(x: mpfr) -> mpfr:
    return gmpy2.erfc(-x * gmpy2.rec_sqrt(mpfr(2))) / 2


def _normal_density(x: mpfr) -> mpfr:
    return gmpy2.exp(-x * x / 2) * gmpy2.rec_sqrt(2 * gmpy2.const_pi())


def _gelu() -> FunctionSpec:
    low = -26

    def positive(n: int) -> Piece:
        if n == low:
            return Piece((Entry(_ONE // 2, _ONE // 2),), Gain.N)
        return _scaled(lambda x: x * _normal_cdf(x), n) if n <= 2 else _IDENTITY

    def mirrored(x: mpfr) -> mpfr:
        return -x * _normal_cdf(-x)

    def negative(n: int) -> Piece:
        if n == low:
            return Piece((Entry(-_ONE // 2, -_ONE // 2),), Gain.N)
        if n <= 1:
            return _scaled(mirrored, n, _COARSE if n <= 0 else _STEEP)
        return _vanishing(mirrored, n)

    specials = (_ZERO, _MINUS_ZERO, _INFINITY, _MINUS_ZERO)
    return _float_function("gelu", specials, low, _window(positive, low), _window(negative, low))


def _gelu_grad() -> FunctionSpec:
    low = -26

    def gradient(x: mpfr) -> mpfr:
        return _normal_cdf(x) + x * _normal_density(x)

    def positive(n: int) -> Piece:
        if n == low:
            return _HALF
        return _absolute(gradient, n) if n <= 2 else _UNITY

    def mirrored(x: mpfr) -> mpfr:
        return gradient(-x)

    def negative(n: int) -> Piece:
        if n == low:
            return _HALF
        if n < 0:
            # It is zero at -0.7518: there the absolute error counts.
            return _absolute(mirrored, n, floor=0.125)
        if n <= 1:
            return _absolute(mirrored, n, _COARSE if n == 0 else _STEEP)
        return _vanishing(mirrored, n)

    specials, pieces = (_HALF, _HALF, _UNITY, _MINUS_ZERO), (positive, negative)
    return _float_function("gelu_grad", specials, low, *(_window(each, low) for each in pieces))


def _vanishing(g: Callable[[mpfr], mpfr], n: int) -> Piece:
    """GELU or its gradient from -4 down: n of 2 and more."""
    if n > 3:
        return _MINUS_ZERO
    return _absolute(g, n, _SHOULDER if n == 2 else _TAIL, floor=_SMALLEST_NORMAL)


def _relu() -> FunctionSpec:
    specials = (_ZERO, _ZERO, _INFINITY, _ZERO)
    return _float_function("relu", specials, _ANY_N_FLOAT, [_IDENTITY], [_ZERO])


def _pow2_recip() -> FunctionSpec:
    # 2**127, the largest power of two, also for what is smaller than 2**-126 and for zero: a scale
    # of infinity would make NaN of a block of zeros.
    specials = (_LARGEST_POWER, _LARGEST_POWER, _ZERO, _ZERO)
    power = Piece((Entry(_ONE),), Gain.MINUS_N)
    window = [_LARGEST_POWER, *(power for _ in range(1, _FLOAT_WINDOW))]
    return _float_function("pow2_recip", specials, -127, window, window)


_MAKERS: dict[str, Callable[[], FunctionSpec]] = {
    "exp": _exp,
    "ln": _ln,
    "recip": _recip,
    "rsqrt": _rsqrt,
    "sqrt": _sqrt,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "gelu": _gelu,
    "gelu_grad": _gelu_grad,
    "relu": _relu,
    "pow2_recip": _pow2_recip,
}

NAMES = tuple(_MAKERS)
"""The functions of the library."""


@cache
def function(name: str) -> FunctionSpec:
    """The function of this name, fitted at its first use (half a second at most).

    Raises
    ------
    ValueError
        If there is no such function; the message lists those there are.
    """
    if name not in _MAKERS:
        raise ValueError(f"function {name!r} is unknown: it must be one of {', '.join(NAMES)}")
    return _MAKERS[name]()
