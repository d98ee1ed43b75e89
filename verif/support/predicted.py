"""Cycles that instructions add to a program, as the model of time has them."""

from tegula.config import TileConfig
from tegula.isa.assembly import assemble
from tegula_sw.program.timing.model import predict

__all__ = ["cycles_each"]

_FEW, _MANY = 4, 20


def cycles_each(config: TileConfig, text: str, before: str = "", **options: int) -> float:
    """Cycles that `text` takes, of many one behind the other, in a program that begins `before`."""
    few, many = (
        predict(config, assemble(before + text * count + "halt\n"), **options).cycles
        for count in (_FEW, _MANY)
    )
    return (many - few) / (_MANY - _FEW)
