"""Tables of the README that commands write."""

from pathlib import Path

__all__ = ["put_into_readme"]

_README = Path(__file__).resolve().parents[1] / "README.md"


def put_into_readme(begin: str, end: str, text: str) -> None:
    """Replace what stands between the lines `begin` and `end`.

    Raises
    ------
    SystemExit
        If they are not there.
    """
    readme = _README.read_text()
    if begin not in readme or end not in readme:
        raise SystemExit(f"{_README.name} has no markers {begin!r} and {end!r}")
    head, rest = readme.split(begin, 1)
    _README.write_text(f"{head}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}")
