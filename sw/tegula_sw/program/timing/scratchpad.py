"""Banks of the scratchpad that readers and writers take, cycle by cycle."""

from collections import deque

from tegula.config import TileConfig

__all__ = ["Accesses", "BankMasks"]


class BankMasks:
    """Banks that accesses touch, as bits of a mask.

    Parameters
    ----------
    config
        The tile.

    Attributes
    ----------
    all, none
        Every bank; a request that takes no bank, though its port is in use.
    """

    def __init__(self, config: TileConfig):
        self._banks = config.bus_words
        self.all = (1 << self._banks) - 1
        self.none = 1 << self._banks
        self._line = config.row_words
        self._even = sum(1 << bank for bank in range(0, self._banks, 2))

    def row(self, addr: int) -> int:
        """The bank of a row."""
        return 1 << addr % self._banks

    def pair(self, addr: int) -> int:
        """The banks of an even row and the next."""
        return 3 << (addr & ~1) % self._banks

    def element(self, addr: int, wide: bool) -> int:
        """The banks of a column of one word, or of two."""
        return self.pair(addr) if wide else self.row(addr)

    def line(self, addr: int) -> int:
        """The banks of a line of the vector engine."""
        first = addr % self._banks // self._line * self._line
        return ((1 << self._line) - 1) << first

    def parity(self, mask: int) -> int:
        """All banks whose parity one of `mask` has."""
        odd = self.all & ~self._even
        return (self._even if mask & self._even else 0) | (odd if mask & odd else 0)


_PROGRESSIONS = 24
"""Progressions that are remembered: none of those before is looked for any more."""


class Accesses:
    """Accesses of a port: cycle by cycle, or as progressions of cycles and addresses.

    Parameters
    ----------
    masks
        The banks.

    Attributes
    ----------
    last
        The last cycle in which an access is known.
    """

    def __init__(self, masks: BankMasks):
        self._masks = masks
        self._progressions: deque[tuple[int, int, int, int, int, bool]] = deque(
            maxlen=_PROGRESSIONS
        )
        self._single: dict[int, int] = {}
        self.last = -1

    def add(
        self, first: int, count: int, addr: int, stride: int, *, interval: int = 1, wide: bool
    ) -> None:
        """`count` accesses from cycle `first` on, every `interval` cycles."""
        last = first + (count - 1) * interval
        self._progressions.append((first, last, interval, addr, stride, wide))
        self.last = max(self.last, last)

    def add_single(self, cycle: int, mask: int) -> None:
        """An access to the banks `mask` in one cycle."""
        self._single[cycle] = self._single.get(cycle, 0) | mask
        self.last = max(self.last, cycle)

    def at(self, cycle: int) -> int:
        """The banks that are taken in a cycle."""
        if cycle > self.last:
            return 0
        taken = self._single.get(cycle, 0)
        for first, last, interval, addr, stride, wide in reversed(self._progressions):
            if first <= cycle <= last and not (cycle - first) % interval:
                at = addr + (cycle - first) // interval * stride
                taken |= self._masks.element(at, wide)
        return taken

    def free_from(self, cycle: int) -> bool:
        """True if nothing is known to be accessed from `cycle` on."""
        return cycle > self.last
