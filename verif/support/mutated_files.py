"""Readers on files that were changed at random."""

import numpy as np

__all__ = ["mutations", "outcome"]


def mutations(seed, content, change, *, count, most):
    """`count` copies of bytes, each after 1 to `most` calls of ``change(rng, bytearray)``."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        data = bytearray(content)
        for _ in range(rng.integers(1, most + 1)):
            change(rng, data)
        yield bytes(data)


def outcome(read, *refusals):
    """The result of a reader: "read", or "refused" by a ValueError that has all of the texts."""
    try:
        read()
    except ValueError as error:
        assert all(text in str(error) for text in refusals), error
        return "refused"
    return "read"
