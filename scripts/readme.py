"""Tables of documents that commands write."""

from pathlib import Path

__all__ = ["put_into", "put_into_readme"]

_ROOT = Path(__file__).resolve().parents[1]


def put_into(name: str, begin: str, end: str, text: str) -> None:
    """Replace what stands between the lines `begin` and `end` of a document of the project.

    Raises
    ------
    SystemExit
        If they are not there.
    """
    path = _ROOT / name
    document = path.read_text()
    if begin not in document or end not in document:
        raise SystemExit(f"{path.name} has no markers {begin!r} and {end!r}")
    head, rest = document.split(begin, 1)
    path.write_text(f"{head}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}")


def put_into_readme(begin: str, end: str, text: str) -> None:
    """`put_into` the README."""
    put_into("README.md", begin, end, text)
