"""Half-open ranges of rows, columns or K steps."""

from dataclasses import dataclass

__all__ = ["Span"]


@dataclass(frozen=True)
class Span:
    """A half-open range: `start` .. `stop` - 1."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start
