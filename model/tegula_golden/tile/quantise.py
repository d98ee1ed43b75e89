"""vector.quantise on the state of a tile: elements and scales of MX blocks (contract section 4.5).

The blocks before the first that traps are done; `EngineTrap` is raised if there is one.
"""

import numpy as np

from tegula.formats import MX_BLOCK, MX_ELEMENTS, MXFP4_E2M1, MxElement, format_by_code
from tegula.isa.operations import Half, ScaleRule
from tegula.isa.traps import Trap
from tegula_golden.array_types import Bytes, Integers
from tegula_golden.numerics.mx import quantised
from tegula_golden.tile.halves import replaced
from tegula_golden.tile.state import Check, TileState, first_fault, sbuf_check
from tegula_golden.tile.vector import Compute

__all__ = ["QUANTISE_UNUSED", "vector_quantise"]

QUANTISE_UNUSED = dict.fromkeys(
    ("rounding", "reduction", "proceed", "finish", "y_addr", "y_stride", "y_format"), 0
)
"""Fields of vector.compute that vector.quantise does not have: as it would have them."""


def _element(fields: dict[str, int]) -> MxElement:
    if fields["e2m1"]:
        return MXFP4_E2M1
    fmt = format_by_code(fields["format"])
    return next(element for element in MX_ELEMENTS if element.fmt is fmt)


def _destinations_of(fields: dict[str, int], n: int) -> tuple[Integers, Integers]:
    """Address of the code of each element, and its partition: -1, all, if it is not transposed.

    Of a transposed element, whose codes lie along one partition, the address is that of the first.
    """
    step = np.arange(fields["columns"])
    if not fields["transpose"]:
        return fields["dst"] + step * fields["dst_stride"], np.full_like(step, -1)
    group, partition = np.divmod(fields["partition"] + (step >> fields["packed"]), n)
    return fields["dst"] + group * fields["dst_stride"], partition


class _Quantise(Compute):
    """Execution of one vector.quantise."""

    def execute(self) -> None:
        """Blocks in order: of each the scale, then the elements."""
        fields = self.fields
        addresses, partitions = _destinations_of(fields, self.config.n)
        blocks = np.arange(-(-len(self.step) // MX_BLOCK))
        scale_at = fields["scale_dst"] + blocks * fields["scale_stride"]
        good, trap = first_fault(self._quantise_checks(addresses, scale_at))
        if trap is not None:
            good -= good % MX_BLOCK
        if good:
            results, _, _ = self._compute(slice(0, good))
            rows = slice(fields["rows"])
            scales, codes = quantised(results[rows], _element(fields), ScaleRule(fields["rule"]))
            for block in range(scales.shape[1]):
                self.state.sbuf[rows, scale_at[block]] = scales[:, block]
                for index in range(block * MX_BLOCK, min((block + 1) * MX_BLOCK, good)):
                    self._place(codes[:, index], index, addresses[index], partitions[index])
        if trap is not None:
            raise trap

    def _quantise_checks(self, addresses: Integers, scale_at: Integers) -> list[Check]:
        """Of an element: x, the scale of the block that it begins, its destination."""
        scales = sbuf_check(np.repeat(scale_at, MX_BLOCK)[: len(self.step)], self.config)
        begins = self.step % MX_BLOCK == 0
        checks = [
            *self._operand_checks(),
            Check(scales.cause, scales.bad & begins, scales.addresses),
            sbuf_check(addresses, self.config),
        ]
        if self.fields["transpose"]:
            n = self.config.n
            checks.append(Check(Trap.SBUF_ALIGNMENT, addresses % n != 0, addresses))
        return checks

    def _place(self, codes: Bytes, index: int, address: int, partition: int) -> None:
        """Write the codes of an element."""
        half = Half(self.fields["half"])
        if self.fields["packed"]:
            half = Half.HIGH if index & 1 else Half.LOW
        lanes = np.arange(len(codes))
        where = (lanes, address) if partition < 0 else (partition, address + lanes)
        self.state.sbuf[where] = replaced(self.state.sbuf[where], codes, half)


def vector_quantise(state: TileState, fields: dict[str, int]) -> None:
    """vector.quantise: all elements are read before any result is written."""
    _Quantise(state, fields | QUANTISE_UNUSED).execute()
