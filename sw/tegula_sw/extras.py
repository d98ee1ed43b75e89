"""Optional packages: what only some of the work needs, checked before that work begins."""

from importlib.util import find_spec

__all__ = ["EXTRAS", "require_extra"]

EXTRAS = {
    "plots": ("matplotlib",),
    "training": ("matplotlib", "sklearn", "tqdm"),
}
"""Modules that each extra of the package `tegula` brings (pyproject.toml)."""


def require_extra(extra: str, purpose: str) -> None:
    """Check that the packages of an extra are installed; none is imported.

    Parameters
    ----------
    extra
        One of `EXTRAS`.
    purpose
        What needs it, as the message begins.

    Raises
    ------
    ModuleNotFoundError
        If a package is missing; the message names it and the extra.
    """
    missing = [name for name in EXTRAS[extra] if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"{purpose} needs {', '.join(missing)}: install 'tegula[{extra}]'", name=missing[0]
        )
