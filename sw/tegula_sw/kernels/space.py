"""Who has which words: the scratchpad and PSUM, handed out in pieces."""

from dataclasses import dataclass

__all__ = ["Space"]


@dataclass
class _Hole:
    """Free words, and when they became free."""

    start: int
    stop: int
    since: int


class Space:
    """Words 0 .. size - 1 of a storage.

    What has been free longest is given first, so that buffers of a loop rotate: an instruction
    that fills a new one need not wait for those that still read the one before. `order` sees the
    rest to it.

    Parameters
    ----------
    what
        Its name, for messages.
    size
        Words.
    quantum
        Pieces begin at multiples of this.

    Raises
    ------
    ValueError
        From `take`, if a piece does not fit, in a sentence that says how much is left.
    """

    def __init__(self, what: str, size: int, quantum: int):
        self._what, self._size, self._quantum = what, size, quantum
        self._holes = [_Hole(0, size, 0)]
        self._taken: dict[int, int] = {}
        self._clock = 0

    @property
    def free(self) -> int:
        """Words that nobody has."""
        return sum(hole.stop - hole.start for hole in self._holes)

    @property
    def end(self) -> int:
        """The word behind the last one that somebody has."""
        return max((start + size for start, size in self._taken.items()), default=0)

    def take(self, name: str, size: int) -> int:
        """The first of `size` words for `name`."""
        size = -(-size // self._quantum) * self._quantum
        if not any(hole.stop - hole.start >= size for hole in self._holes):
            self._join()
        holes = [hole for hole in self._holes if hole.stop - hole.start >= size]
        if not holes:
            largest = max((hole.stop - hole.start for hole in self._holes), default=0)
            raise ValueError(
                f"{name} does not fit: it needs {size} words of the {self._what}, of whose"
                f" {self._size} there are {self.free} left, {largest} in one piece"
            )
        hole = min(holes, key=lambda hole: (hole.since, hole.start))
        start = hole.start
        hole.start += size
        if hole.start == hole.stop:
            self._holes.remove(hole)
        self._taken[start] = size
        return start

    def give(self, start: int) -> None:
        """Take back the piece that begins at `start`."""
        self._clock += 1
        self._holes.append(_Hole(start, start + self._taken.pop(start), self._clock))

    def _join(self) -> None:
        """Make one of neighbouring holes; it is as young as the youngest."""
        self._holes.sort(key=lambda hole: hole.start)
        joined: list[_Hole] = []
        for hole in self._holes:
            if joined and hole.start == joined[-1].stop:
                joined[-1].stop, joined[-1].since = hole.stop, max(joined[-1].since, hole.since)
            else:
                joined.append(hole)
        self._holes = joined
