"""Components whose registers without reset begin with random content, as a stop may leave it."""

from random import Random

from amaranth.hdl import Fragment
from amaranth.lib import wiring

__all__ = ["scrambled"]


def scrambled(component: type[wiring.Component], seed: int) -> type[wiring.Component]:
    """Subclass of `component` whose registers without reset begin with random content.

    A reset of the others then says all that the component may rely on.

    Parameters
    ----------
    component
        Its elaboration must find such registers.
    seed
        Of the content.
    """

    def elaborate(self, platform):
        random = Random(seed)
        fragment = Fragment.get(component.elaborate(self, platform), platform)
        assert _scramble(fragment, random), f"{component.__name__} has no register without reset"
        return fragment

    name = f"{component.__name__}Scrambled{seed}"
    return type(name, (component,), {"elaborate": elaborate, "__qualname__": name})


def _scramble(fragment: Fragment, random: Random) -> int:
    """Random initial values of a fragment's registers without reset; how many there are."""
    count = 0
    for domain, statements in fragment.statements.items():
        for statement in statements if domain != "comb" else ():
            for signal in statement._lhs_signals():
                if signal.reset_less:
                    signal._init = random.getrandbits(len(signal)) if len(signal) else 0
                    count += 1
    return count + sum(_scramble(child, random) for child, *_ in fragment.subfragments)
