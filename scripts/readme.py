"""Tables of documents that commands write."""

from pathlib import Path

from tegula.files import write_text
from tegula_sw.files.inputs import read_text

__all__ = ["README", "put_into"]

README = Path(__file__).resolve().parents[1] / "README.md"


def put_into(path: Path, begin: str, end: str, text: str) -> None:
    """Replace what stands between the lines `begin` and `end` of a document.

    Raises
    ------
    ValueError
        If they are not there, or the document cannot be read.
    OSError
        If it cannot be written.
    """
    head, _, rest = read_text(path).partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        raise ValueError(f"{path} has no markers {begin!r} and, behind it, {end!r}")
    write_text(path, f"{head}{begin}\n{text}\n{end}{tail}")
