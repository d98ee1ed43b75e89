"""Allocation of words of the scratchpad and of PSUM."""

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Space"]


@dataclass
class _Hole:
    """Free words, and when they became free."""

    start: int
    stop: int
    since: int


def _size(run: list[_Hole]) -> int:
    return run[-1].stop - run[0].start


class Space:
    """Words 0 .. size - 1 of a storage.

    What has been free longest is given first, so that buffers of a loop rotate: an instruction
    that fills a new one need not wait for those that still read the one before. Neighbours are
    taken together, and are as young as the youngest of them. `order` sees the rest to it.

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
        """Words that are not allocated."""
        return sum(hole.stop - hole.start for hole in self._holes)

    @property
    def end(self) -> int:
        """The word behind the last one that is allocated."""
        return max((start + size for start, size in self._taken.items()), default=0)

    def take(self, name: str, size: int) -> int:
        """The first of `size` words for `name`."""
        size = -(-size // self._quantum) * self._quantum
        self._holes.sort(key=lambda hole: hole.start)
        runs = [run for run in self._runs(size) if _size(run) >= size]
        if not runs:
            largest = max(map(_size, self._runs(self._size)), default=0)
            raise ValueError(
                f"{name} does not fit: it needs {size} words of the {self._what}, of whose"
                f" {self._size} there are {self.free} left, {largest} in one piece"
            )
        run = min(runs, key=lambda run: (max(hole.since for hole in run), run[0].start))
        start = run[0].start
        for hole in run:
            hole.start = min(hole.stop, start + size)
        self._holes = [hole for hole in self._holes if hole.start < hole.stop]
        self._taken[start] = size
        return start

    def _runs(self, size: int) -> Iterator[list[_Hole]]:
        """From each hole on, the fewest neighbours with `size` words, or all that there are."""
        for first in range(len(self._holes)):
            run = self._holes[first : first + 1]
            for hole in self._holes[first + 1 :]:
                if _size(run) >= size or hole.start != run[-1].stop:
                    break
                run.append(hole)
            yield run

    def give(self, start: int) -> None:
        """Take back the piece that begins at `start`."""
        self._clock += 1
        self._holes.append(_Hole(start, start + self._taken.pop(start), self._clock))
