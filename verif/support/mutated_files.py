"""Readers on files that were changed at random."""

__all__ = ["outcome"]


def outcome(read, *refusals):
    """The result of a reader: "read", or "refused" by a ValueError that has all of the texts."""
    try:
        read()
    except ValueError as error:
        assert all(text in str(error) for text in refusals), error
        return "refused"
    return "read"
