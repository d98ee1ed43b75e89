"""Users' files in: what cannot be read is a ValueError that names the file and the cause."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["MAX_BYTES", "opened", "read_bytes", "read_text"]

MAX_BYTES = 1 << 30
"""Largest file that is read whole: far more than any program or state of a run has."""


@contextmanager
def opened(path: Path | str) -> Iterator[BinaryIO]:
    """A file to read in the block.

    Raises
    ------
    ValueError
        If it cannot be opened or read.
    """
    try:
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error


def read_bytes(path: Path | str) -> bytes:
    """The content of a file.

    Raises
    ------
    ValueError
        If it cannot be read, or has more than `MAX_BYTES`.
    """
    with opened(path) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path} has more than {MAX_BYTES} bytes")
    return content


def read_text(path: Path | str) -> str:
    """The text of a file in UTF-8.

    Raises
    ------
    ValueError
        If it cannot be read, has more than `MAX_BYTES`, or is no text.
    """
    content = read_bytes(path)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not text: byte {content[error.start]:#04x} at offset {error.start} is not"
            " UTF-8"
        ) from None
