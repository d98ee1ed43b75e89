"""Outputs of commands: each is written whole or not at all, whatever becomes of the others.

`-` as a path is standard output. JSON has neither NaN nor infinities (RFC 8259, section 6): they
are the strings "NaN", "Infinity" and "-Infinity", as in the JSON form of protocol buffers, and
Python's `float` takes them back.
"""

import errno
import io
import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO, TextIO

from tegula.files import is_stream, replacing, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "STDOUT",
    "STDOUT_NAME",
    "Outputs",
    "buffer_standard_output",
    "check_outputs",
    "explained",
    "json_text",
    "make_folder",
    "open_output",
    "print_text",
    "reader_gone",
    "save_figure",
    "standard_output",
    "write_json",
]

STDOUT = "-"
STDOUT_NAME = "standard output"


def explained(error: BaseException) -> str:
    """An error as one line: the file, where it has one, and the cause."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join((text or type(error).__name__).split())


def check_outputs(*outputs: tuple[str, str | None]) -> None:
    """Check before the work that the outputs can be written, and are different files.

    An output may be an input: it is written when all has been read.

    Parameters
    ----------
    outputs
        Option and path of each; None: not wanted.

    Raises
    ------
    ValueError
        If not.
    """
    taken: dict[str, str] = {}
    for option, path in outputs:
        if path is None:
            continue
        if path != STDOUT:
            _check_file(path)
            if is_stream(path):
                continue
        name = path if path == STDOUT else os.path.realpath(path)
        if name in taken:
            raise ValueError(f"{path}: {taken[name]} and {option} cannot both be written there")
        taken[name] = option


def _check_file(path: str) -> None:
    if not path:
        raise ValueError("an output has an empty name")
    if path.endswith(os.sep) or os.path.isdir(path):
        raise ValueError(f"{path}: it is a folder")
    try:
        in_place = is_stream(path)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise ValueError(f"{path}: no permission to write it")
    folder = Path(os.path.realpath(path) if os.path.islink(path) else path).parent
    if not in_place and not folder.is_dir():
        wrong = "is not a folder" if folder.exists() else "does not exist"
        raise ValueError(f"{path}: {folder} {wrong}")
    if not in_place and not os.access(folder, os.W_OK):
        raise ValueError(f"{path}: no permission to write in {folder}")


def make_folder(folder: Path) -> None:
    """Make a folder where there is none, and check that files can be made in it.

    Raises
    ------
    ValueError
        If not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{folder} is no folder to write to: {error.strerror}") from None


def buffer_standard_output() -> None:
    """Put a buffer before a `sys.stdout` without one, as Python has it with PYTHONUNBUFFERED.

    A raw stream takes a part of what is written to it, and what is left is lost without an error;
    a buffer writes all or raises. Lines are still flushed one by one.
    """
    raw = getattr(sys.stdout, "buffer", None)
    if isinstance(raw, io.FileIO):
        sys.stdout = open(
            raw.fileno(),
            "w",
            buffering=1,
            encoding=sys.stdout.encoding,
            errors=sys.stdout.errors,
            closefd=False,
        )


@contextmanager
def standard_output() -> Iterator[TextIO]:
    """Standard output, buffered, and flushed before and after the block.

    Raises
    ------
    OSError
        If it does not take what is written; `filename` is `STDOUT_NAME`. What is left is dropped.
    """
    try:
        if sys.stdout is None:  # closed before Python started
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        sys.stdout.flush()
        buffer_standard_output()
        yield sys.stdout
        sys.stdout.flush()
    except OSError as error:
        with suppress(OSError, AttributeError):  # else Python tries again when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OSError(error.errno, error.strerror, STDOUT_NAME) from error


def reader_gone(error: BaseException) -> bool:
    """True for the error of a standard output without a reader, as behind `| head`."""
    return isinstance(error, BrokenPipeError) and error.filename == STDOUT_NAME


@contextmanager
def open_output(path: Path | str) -> Iterator[BinaryIO]:
    """A binary file to write, whole or not at all (`tegula.files.replacing`); `-` is stdout.

    Raises
    ------
    OSError
        If it cannot be written; `filename` says what.
    """
    if path == STDOUT:
        with standard_output() as output:
            yield output.buffer
    else:
        with replacing(path) as file:
            yield file


def print_text(text: str) -> None:
    """Write text to standard output and flush it; see `standard_output`."""
    with standard_output() as output:
        output.write(text)


def _without_odd_floats(content: object) -> object:
    if isinstance(content, float) and not math.isfinite(content):
        if math.isnan(content):
            return "NaN"
        return "Infinity" if content > 0 else "-Infinity"
    if isinstance(content, dict):
        return {key: _without_odd_floats(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_odd_floats(value) for value in content]
    return content


def json_text(content: object, *, indent: int | None = 2) -> str:
    """Content as JSON that every reader takes, with a line end; NaN and infinities are strings.

    Parameters
    ----------
    indent
        Of nested levels; None: no white space at all.
    """
    separators = (",", ":") if indent is None else None
    dumps = partial(json.dumps, indent=indent, separators=separators, allow_nan=False)
    try:
        return dumps(content) + "\n"
    except ValueError:
        return dumps(_without_odd_floats(content)) + "\n"


def write_json(path: Path | str, content: object, *, indent: int | None = 2) -> None:
    """Write `json_text`; see `open_output`."""
    text = json_text(content, indent=indent)
    if path == STDOUT:
        print_text(text)
    else:
        write_text(path, text)


def save_figure(path: Path | str, figure: "Figure", *, dpi: int) -> None:
    """Write a picture of the kind that the suffix of `path` says; see `open_output`."""
    picture = io.BytesIO()  # libraries write files past Python, and lose the cause of an error
    figure.savefig(picture, format=Path(path).suffix[1:].lower(), dpi=dpi)
    with open_output(path) as file:
        file.write(picture.getbuffer())


class Outputs:
    """Several outputs, of which each is written if it can be, whatever becomes of the others.

    ::

        with Outputs() as outputs:
            with outputs.writing("C.npy"):
                save_array("C.npy", c)
            with outputs.writing("report.json"):
                write_json("report.json", report)

    Raises
    ------
    OSError
        At the end, if one could not be written: what failed and why, and what is written.
    ValueError
        The same, if all that failed had a value that cannot be.
    """

    def __init__(self) -> None:
        self._written: list[str] = []
        self._failures: list[OSError | ValueError] = []

    @contextmanager
    def writing(self, path: Path | str) -> Iterator[None]:
        """The block writes `path`; its error is raised when the others have been written."""
        try:
            yield
        except (OSError, ValueError) as error:
            self._failures.append(error)
        else:
            self._written.append(STDOUT_NAME if path == STDOUT else str(path))

    def __enter__(self) -> "Outputs":
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if not self._failures:
            return
        message = "; ".join(explained(failure) for failure in self._failures)
        if self._written:
            message += f"; written: {', '.join(self._written)}"
        if error is not None:
            error.add_note(message)
        elif len(self._failures) == 1 and (not self._written or reader_gone(self._failures[0])):
            raise self._failures[0]
        elif all(isinstance(failure, ValueError) for failure in self._failures):
            raise ValueError(message)
        else:
            raise OSError(message)
