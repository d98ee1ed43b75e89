"""What all lanes of the vector engine are told in a cycle, tap by tap of their pipeline."""

from amaranth.lib import data

from tegula.isa.operations import Operation, Source

__all__ = ["RANDOM_SLOTS", "controls_layout"]

RANDOM_SLOTS = 16
"""Random words that wait between the operands and the cast: two steps of seven cycles, and more."""

_SLOT = range(RANDOM_SLOTS)


def controls_layout() -> data.StructLayout:
    """Controls of a lane, grouped by the place where they act.

    arrival
        The words of the scratchpad are here: `hold` x for later, or take the x that is `late`.
    entry
        The operands are here: where x comes from (`number`: all of a random number), whether it
        becomes a scalar; what the second operands are; what the generator does (`step`, `load`,
        `rotate`); whether random bits are kept (`keep`), those `given` or the generator's.
    adder, multiplier
        What enters the unit: its first operand is that of step 0 (`first`), or else the result of
        the adder (`after_adder`) or of the multiplier; its second that of step 0, else the first
        itself (`twice`), else that of step 1. The adder also takes a partial result for its second
        (`reduce`), the absolute value of its first (`magnitude`), and what is held (`held`).
    partial
        Memory of partial results: word that is read, or the `identity` of the operation instead
        (of the maximum: `lowest`); `hold` it; what leaves the adder is written to `write_addr`.
    leave
        What enters the cast: the operand itself, if there are no `steps`, else what leaves a unit.
    """
    unit = {"op": Operation, "first": 1, "after_adder": 1, "twice": 1}
    return data.StructLayout(
        {
            "arrival": data.StructLayout({"hold": 1, "late": 1, "x_format": 3, "y_format": 3}),
            "entry": data.StructLayout(
                {
                    "source": Source,
                    "value": 32,
                    "number": 1,
                    "scalar0": 1,
                    "scalar1": 1,
                    "y0": 1,
                    "self0": 1,
                    "y1": 1,
                    "step": 1,
                    "load": 1,
                    "rotate": 1,
                    "keep": 1,
                    "given": 1,
                    "slot": _SLOT,
                }
            ),
            "adder": data.StructLayout({**unit, "reduce": 1, "magnitude": 1, "held": 1}),
            "multiplier": data.StructLayout(unit),
            "partial": data.StructLayout(
                {
                    "addr": range(16),
                    "identity": 1,
                    "lowest": 1,
                    "hold": 1,
                    "write": 1,
                    "write_addr": range(16),
                }
            ),
            "leave": data.StructLayout(
                {
                    "steps": 1,
                    "from_adder": 1,
                    "stochastic": 1,
                    "saturate": 1,
                    "format": 3,
                    "slot": _SLOT,
                }
            ),
        }
    )
