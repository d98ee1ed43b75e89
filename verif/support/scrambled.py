"""Components whose registers without reset begin with random content, as a stop may leave it."""

from collections.abc import Iterator
from random import Random

from amaranth.hdl import Const, Fragment, Signal
from amaranth.lib import wiring

__all__ = ["MARK", "marked", "scrambled"]

MARK = "__without_reset"


def scrambled(component: type[wiring.Component], seed: int) -> type[wiring.Component]:
    """Subclass of `component` whose registers without reset begin with random content.

    A reset of the others then says all that the component may rely on.

    Parameters
    ----------
    component
        Its elaboration must find such registers.
    seed
        Of the content; that of an odd one is the complement of that of the seed before, so that the
        two hold either value of each bit.
    """

    def elaborate(self, platform):
        random, registers = Random(seed // 2), 0
        fragment = Fragment.get(component.elaborate(self, platform), platform)
        for signal in _without_reset(fragment):
            mask = (1 << len(signal)) - 1
            content = random.randint(0, mask) ^ (mask if seed % 2 else 0)
            signal._init = Const(content, signal.shape()).value
            registers += 1
        assert registers, f"{component.__name__} has no register without reset"
        return fragment

    name = f"{component.__name__}Scrambled{seed}"
    return type(name, (component,), {"elaborate": elaborate, "__qualname__": name})


def marked(component: type[wiring.Component]) -> type[wiring.Component]:
    """Subclass of `component` where `MARK` is in the names of registers without reset."""

    def elaborate(self, platform):
        fragment = Fragment.get(component.elaborate(self, platform), platform)
        for signal in _without_reset(fragment):
            if MARK not in signal.name:
                signal.name += MARK
        return fragment

    return type(component.__name__, (component,), {"elaborate": elaborate})


def _without_reset(fragment: Fragment) -> Iterator[Signal]:
    """Registers without reset of a fragment and those below it; a register may come again."""
    for domain, statements in fragment.statements.items():
        for statement in statements if domain != "comb" else ():
            yield from (signal for signal in statement._lhs_signals() if signal.reset_less)
    for child, *_ in fragment.subfragments:
        yield from _without_reset(child)
