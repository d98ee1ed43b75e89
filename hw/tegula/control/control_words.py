"""Instructions of control as the front end executes them: a granule, and its fields."""

from amaranth.lib import data

from tegula.isa.instructions import GRANULE_BITS, by_mnemonic

__all__ = ["control_field", "control_layout"]


def control_layout() -> data.StructLayout:
    """The granule of an instruction of control."""
    return data.StructLayout({"bits": GRANULE_BITS})


def control_field(control, mnemonic: str, name: str):
    """The bits of field `name` of the instruction `control`, if it is a `mnemonic`."""
    field = next(field for field in by_mnemonic(mnemonic).fields if field.name == name)
    return control.bits[field.offset : field.offset + field.width]
