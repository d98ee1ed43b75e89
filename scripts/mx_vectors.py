"""torchao's MX quantiser beside the golden model: blocks compared, and answers recorded for tests.

It needs torchao and torch, which the project does not install: in an environment of its own,

    pip install torch==2.13.0 torchao==0.18.0 numpy ml_dtypes
    PYTHONPATH=hw:model:sw:. python -m scripts.mx_vectors
"""

import importlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tegula.formats import MX_ELEMENTS, MXFP4_E2M1, MxElement
from tegula.isa.operations import ScaleRule
from tegula_golden.array_types import Bytes, Patterns
from tegula_golden.numerics.mx import e4m3fn_of_e2m1
from tegula_sw.cli.arguments import ScriptParser, integer
from tegula_sw.cli.exits import exit_code
from verif.oracles.mx_torchao import CASES, RECORDED, differences, unpacked_e2m1
from verif.stimuli.mx import BLOCK_KINDS, blocks, edge_blocks

SEED = 4096
RECORDED_BLOCKS = 7
"""Blocks of each kind and element that are recorded, beside every ninth of the edges."""

_BATCH = 20_000
_DTYPES = ("float8_e4m3fn", "float8_e5m2", "float4_e2m1fn_x2")


class Torchao:
    """torchao's ``to_mx``.

    Raises
    ------
    ValueError
        If torch or torchao cannot be imported.
    """

    def __init__(self) -> None:
        try:
            self._torch: Any = importlib.import_module("torch")
            self._mx: Any = importlib.import_module("torchao.prototype.mx_formats.mx_tensor")
        except ImportError as error:
            raise ValueError(f"torch and torchao must be installed: {error}") from None

    def quantised(self, bits: Patterns, element: MxElement, rule: ScaleRule) -> tuple[Bytes, Bytes]:
        """Scales (blocks) and codes (blocks x 32) of blocks x 32 patterns; E2M1 as E4M3FN codes."""
        torch, mx = self._torch, self._mx
        dtype = getattr(torch, _DTYPES[MX_ELEMENTS.index(element)])
        mode = getattr(mx.ScaleCalculationMode, rule.name)
        numbers = torch.from_numpy(bits.view(np.float32).copy())
        scales, elements = mx.to_mx(numbers, dtype, bits.shape[1], mode)
        codes: Bytes = elements.view(torch.uint8).numpy().reshape(len(bits), -1)
        if element is MXFP4_E2M1:
            codes = e4m3fn_of_e2m1(unpacked_e2m1(codes))
        return scales.view(torch.uint8).numpy().reshape(-1), codes


def drawn(count: int, element: MxElement, seed: int) -> Iterator[Patterns]:
    """Batches of at least `count` blocks in all: the edges, then all kinds alike."""
    yield edge_blocks(seed)
    rng = np.random.default_rng(seed)
    left, turn = count, 0
    kinds = list(BLOCK_KINDS)
    while left > 0:
        yield blocks(rng, min(left, _BATCH), kinds[turn % len(kinds)], element)
        left, turn = left - _BATCH, turn + 1


def compare(count: int, seed: int) -> int:
    """Print the comparison of `count` blocks and more a case; the number of unlike blocks."""
    torchao, unlike = Torchao(), 0
    for element, rule in CASES:
        total = other = logarithm = smallest = nan = 0
        for bits in drawn(count, element, seed):
            scales, codes = torchao.quantised(bits, element, rule)
            want, wrong = differences(bits, scales, codes, element, rule)
            total, other = total + len(bits), other + wrong
            logarithm += int(want.by_logarithm.sum())
            smallest += int(want.smallest.sum())
            nan += int((want.scales == 255).sum())
        unlike += other
        print(
            f"{element.name} {rule.name.lower()}: {total} blocks, {other} unlike; {logarithm} with"
            f" a rounded logarithm, {smallest} with scale 0, {nan} with scale NaN",
            flush=True,
        )
    return unlike


def record(seed: int) -> None:
    """Write `RECORDED`."""
    torchao, rng = Torchao(), np.random.default_rng(seed)
    parts = [edge_blocks(seed)[::9]]
    for element in MX_ELEMENTS:
        parts += [blocks(rng, RECORDED_BLOCKS, kind, element) for kind in BLOCK_KINDS]
    bits = np.concatenate(parts)
    arrays: dict[str, Any] = {"bits": bits}
    for number, case in enumerate(CASES):
        arrays[f"scales_{number}"], arrays[f"codes_{number}"] = torchao.quantised(bits, *case)
    np.savez_compressed(RECORDED, **arrays)
    print(f"{len(bits)} blocks, {RECORDED.stat().st_size} bytes: {RECORDED}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare or record; exit code 1 if a block is unlike."""
    parser = ScriptParser("mx-vectors", __doc__)
    parser.add_argument("--record", action="store_true", help="write the tests' answers instead")
    parser.add_argument(
        "--count", type=integer(1), default=1_000_000, help="blocks of each case (1000000)"
    )
    parser.add_argument("--seed", type=integer(0), default=SEED, help="of all blocks (%(default)s)")
    options = parser.parse_args(arguments)
    if options.record:
        record(options.seed)
        return 0
    return 1 if compare(options.count, options.seed) else 0


if __name__ == "__main__":
    sys.exit(exit_code("mx-vectors", main))
