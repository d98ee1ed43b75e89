"""Programs of an engine, run with several contents of the registers that have no reset."""

from dataclasses import replace

import numpy as np

from verif.support.compiled import ONES, ZEROS
from verif.support.engine_bench import Item, run

__all__ = ["ENDS", "check_fills_after"]

ENDS = ("done", "stopped", "trapped")
"""How a program may end before another begins."""

_FILLS = (ONES, 2, 3)


def _check_fills(player_class, program, state, **how):
    """Run with several contents of registers without reset: the same, cycle by cycle.

    Returned is what all of them did.
    """
    zeros = run(player_class, state, program, fill=ZEROS, **how)
    for fill in _FILLS:
        seen = run(player_class, state, program, fill=fill, **how)
        np.testing.assert_array_equal(seen.sbuf, zeros.sbuf)
        assert replace(seen, sbuf=None) == replace(zeros, sbuf=None)
    return zeros


def check_fills_after(player_class, check_golden, state, programs, *, end, fault, stop_at, stall):
    """Run the first of two programs to its `end`, then the second, as `_check_fills` does.

    Parameters
    ----------
    check_golden
        Comparison of a run with the golden model; not made where a stop cuts the first short.
    end
        One of `ENDS`: the first is done, is stopped in cycle `stop_at`, or traps at `fault`, which
        is added to it.
    """
    program, after = programs
    how = {
        "stall": stall,
        "stop_at": stop_at if end == "stopped" else None,
        "after": [Item(item.mnemonic, item.fields) for item in after],
    }
    if end == "trapped":
        program = [*program, fault]
    seen = _check_fills(player_class, program, state, **how)
    assert seen.writes
    assert len(seen.traps) == (end == "trapped")
    if end != "stopped":
        check_golden(program, state, **how)
