"""Fields of structures that have the same names."""

from collections.abc import Iterable

from amaranth.lib import data

__all__ = ["copy_fields"]


def copy_fields(target: data.View, source: data.View, names: Iterable[str] | None = None) -> list:
    """Assignments of fields of `target` from those of `source`: all that `target` has, or some."""
    chosen = target.shape().members if names is None else names
    return [target[name].eq(source[name]) for name in chosen]
