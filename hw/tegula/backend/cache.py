"""The folder of generated files, where what is expensive is kept by the content of its inputs."""

import hashlib
import os
from pathlib import Path

import platformdirs

import tegula
from tegula.files import write_text

__all__ = ["cache_root", "digest", "sources_digest", "write_if_new"]

_PACKAGE = Path(tegula.__file__).resolve().parent


def cache_root() -> Path:
    """Folder of generated files.

    What the environment variable TEGULA_CACHE says; else `build` in the checkout that this package
    runs from; else, installed from a wheel, the user's cache folder.
    """
    if chosen := os.environ.get("TEGULA_CACHE"):
        return Path(chosen)
    checkout = _PACKAGE.parents[1]
    if (checkout / "pyproject.toml").is_file() and _PACKAGE == checkout / "hw" / "tegula":
        return checkout / "build"
    return platformdirs.user_cache_path("tegula")


def digest(*parts: str) -> str:
    """A key for files made from these texts: 24 hexadecimal digits of their SHA-256."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


_SOURCES = digest(*(file.read_text() for file in sorted(_PACKAGE.rglob("*.py"))))


def sources_digest() -> str:
    """Key of this package's sources as this process has imported them, or will import them."""
    return _SOURCES


def write_if_new(path: Path, text: str) -> None:
    """Write a text file, unless it has that text already."""
    if path.is_file() and path.read_bytes() == text.encode():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
