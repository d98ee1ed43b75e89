"""K steps of a GEMM: the terms of K that one pass through the array covers."""

from dataclasses import dataclass
from itertools import groupby

from tegula.config import TileConfig
from tegula.formats import MX_BLOCK, FloatFormat
from tegula_sw.program.span import Span

__all__ = ["KStep", "alike", "k_steps", "may_pack", "peak_macs"]


@dataclass(frozen=True)
class KStep:
    """Consecutive terms of K; with `packed`, terms 2p and 2p + 1 of them are in partition p.

    If their number is odd, terms p and p + `rows` are, and the last partition has one only.
    """

    k: Span
    packed: bool

    @property
    def block(self) -> int:
        """Number of the block of K that has its terms, where these are scaled."""
        return self.k.start // MX_BLOCK

    @property
    def rows(self) -> int:
        """Partitions that take part."""
        return -(-len(self.k) // 2) if self.packed else len(self.k)

    @property
    def odd(self) -> bool:
        """Whether they are packed and their number is odd."""
        return self.packed and len(self.k) % 2 == 1


def may_pack(config: TileConfig, fmt_a: FloatFormat, fmt_b: FloatFormat) -> bool:
    """Whether a tile multiplies packed operands of these formats, in either place."""
    if not config.packed_fp8:
        return False
    pairs = config.packed_pairs
    return (fmt_a, fmt_b) in pairs and (fmt_b, fmt_a) in pairs


def peak_macs(config: TileConfig, fmt_a: FloatFormat, fmt_b: FloatFormat) -> int:
    """Multiply-accumulates of the whole array in a cycle, of operands of these formats."""
    return config.peak_macs_per_cycle * (2 if may_pack(config, fmt_a, fmt_b) else 1)


def k_steps(k: int, n: int, *, packed: bool, scaled: bool = False) -> tuple[KStep, ...]:
    """Steps of a sum of `k` terms on `n` partitions: n terms each, or 2n if they are packed.

    The last one has the rest, which is not packed if it is odd and at most n. Terms of a step that
    is `scaled` are of one block.
    """
    if not scaled:
        return tuple(_steps_of(Span(0, k), n, packed))
    rows = min(n, MX_BLOCK // 2) if packed else n
    blocks = (Span(start, min(start + MX_BLOCK, k)) for start in range(0, k, MX_BLOCK))
    return tuple(step for block in blocks for step in _steps_of(block, rows, packed))


def _steps_of(k: Span, n: int, packed: bool) -> list[KStep]:
    terms = 2 * n if packed else n
    whole = k.start + len(k) // terms * terms
    steps = [KStep(Span(start, start + terms), packed) for start in range(k.start, whole, terms)]
    rest = Span(whole, k.stop)
    if len(rest):
        steps.append(KStep(rest, packed and (len(rest) % 2 == 0 or len(rest) > n)))
    return steps


def alike(steps: tuple[KStep, ...], span: Span, *names: str) -> list[Span]:
    """The numbers in `span` of consecutive steps, together where these attributes are alike."""

    def attributes(number: int) -> tuple[int, ...]:
        return tuple(getattr(steps[number], name) for name in names)

    groups = []
    for _, group in groupby(range(span.start, span.stop), key=attributes):
        numbers = list(group)
        groups.append(Span(numbers[0], numbers[-1] + 1))
    return groups
