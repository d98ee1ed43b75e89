"""Half-open ranges of rows, columns or K steps."""

from dataclasses import dataclass

__all__ = ["Span", "balanced"]


@dataclass(frozen=True)
class Span:
    """A half-open range: `start` .. `stop` - 1."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def pieces(self, size: int) -> list["Span"]:
        """Consecutive spans of `size`, the last of what is left."""
        return [
            Span(start, min(start + size, self.stop))
            for start in range(self.start, self.stop, size)
        ]


def balanced(total: int, limit: int, quantum: int) -> list[Span]:
    """Cut 0 .. total - 1 into the fewest spans of at most `limit`, as equal as `quantum` allows."""
    parts = -(-total // limit)
    size = min(limit, -(-total // (parts * quantum)) * quantum)
    return [Span(start, min(start + size, total)) for start in range(0, total, size)]
