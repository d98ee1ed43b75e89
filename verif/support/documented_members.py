"""Members of a component as its docstring documents them, compared with those of its signature.

The section `Members` holds entries, each with its description indented below it. An entry names
members, their direction and their shape, and may hold several groups of these::

    x, y : Out(PairReadSignature)
    instr : In(stream of `instruction_layout(engine)`), stop : In(1)
    banks : Out(BankReadSignature) x bus_words
    <engine>_busy : Out(32), <other> : Out(32)

A shape is a Python expression, with or without back quotes: the names of the component's module, of
its parameters, of `config`'s fields and properties and of every layout, signature, enumeration and
constant of the package are known in it. A layout or a signature without arguments takes them from
the parameters. "payload of tensor.load" is the layout of an instruction's payload, "{a, b: 16}" a
structure of which the fields are named, with their shapes or without. "<engine>" stands for each
engine, any other name in angle brackets for every member that no entry names.
"""

import enum
import importlib
import inspect
import pkgutil
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache

from amaranth.hdl import Shape, signed, unsigned
from amaranth.lib import data, stream, wiring

import tegula
from tegula.config import TileConfig
from tegula.engine.interface import payload_layout
from tegula.isa.instructions import ENGINES

__all__ = ["components", "disagreements", "documented", "signatures"]

_ENTRY = re.compile(r"(?P<names>[\w<>]+(?:, [\w<>]+)*) : (?P<flow>In|Out)\(")
_TIMES = re.compile(r" x (`[^`]+`|\w+)")


@cache
def _modules() -> tuple[types.ModuleType, ...]:
    infos = pkgutil.walk_packages(tegula.__path__, "tegula.")
    return tuple(importlib.import_module(info.name) for info in infos)


def _classes(base: type) -> list[type]:
    return [
        value
        for module in _modules()
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value.__module__ == module.__name__
    ]


def components() -> list[type[wiring.Component]]:
    """Every component that the package defines."""
    return _classes(wiring.Component)


def signatures() -> list[type[wiring.Signature]]:
    """Every signature that the package defines."""
    return _classes(wiring.Signature)


@cache
def _shared_names() -> dict[str, object]:
    """Layouts, signatures, enumerations and constants of the package, by name."""
    names = {}
    for module in _modules():
        for name, value in vars(module).items():
            is_kind = inspect.isclass(value) and issubclass(value, (wiring.Signature, enum.Enum))
            if name.endswith("_layout") or name.isupper() or is_kind:
                names[name] = value
    return names


def _section(text: str) -> list[str]:
    """Entries of the section `Members`, without their descriptions."""
    lines = inspect.cleandoc(text).splitlines()
    entries = []
    for index, line in enumerate(lines):
        if re.fullmatch("-+", line) and lines[index - 1] == "Members":
            for entry, below in zip(lines[index + 1 :], [*lines[index + 2 :], ""], strict=True):
                if re.fullmatch("-{3,}", below):
                    break
                if entry and not entry.startswith(" "):
                    entries.append(entry)
    return entries


def documented(text: str) -> Iterator[tuple[str, wiring.Flow, str, str | None]]:
    """(name, direction, shape, repetitions) of each member that a docstring documents.

    Raises
    ------
    ValueError
        If an entry is not of the form that this module describes.
    """
    for entry in _section(text):
        rest = entry
        while rest:
            match = _ENTRY.match(rest)
            if match is None:
                raise ValueError(f"entry {entry!r} of Members is not `names : In|Out(shape)`")
            depth, end = 1, match.end()
            while depth and end < len(rest):
                depth += {"(": 1, ")": -1}.get(rest[end], 0)
                end += 1
            shape, rest = rest[match.end() : end - 1], rest[end:]
            times = _TIMES.match(rest)
            if times:
                rest = rest[times.end() :]
            if rest and not rest.startswith(", "):
                raise ValueError(f"entry {entry!r} of Members has {rest!r} after a shape")
            rest = rest.removeprefix(", ")
            for name in match["names"].split(", "):
                yield name, wiring.Flow[match["flow"]], shape, times and times[1].strip("`")


class _Shapes:
    """Shapes of one component's documentation, evaluated."""

    def __init__(self, kind: type, arguments: dict[str, object]):
        config = arguments.get("config")
        self._names = {"signed": signed, "unsigned": unsigned}
        self._names |= {kind.__name__: kind for kind in (data.ArrayLayout, data.StructLayout)}
        self._names |= _shared_names()
        if config is not None:
            properties = [n for n, v in vars(TileConfig).items() if isinstance(v, property)]
            names = [*(field.name for field in fields(config)), *properties]
            self._names |= {name: getattr(config, name) for name in names}
        self._names |= vars(inspect.getmodule(kind)) | vars(kind) | arguments
        self._own = self._arguments = arguments
        self._own_names = self._names

    def bind(self, **names: object) -> None:
        """Values of names, for one entry."""
        self._arguments = self._own | names
        self._names = self._own_names | names

    def value(self, text: str) -> object:
        """A shape, a signature, a class of signatures, or the fields of a structure."""
        text = text.strip().replace("`", "")
        if text.startswith("stream of "):
            return stream.Signature, self.value(text.removeprefix("stream of "))
        if text.startswith("payload of "):
            return payload_layout(text.removeprefix("payload of "))
        if text.startswith("{"):
            return self._fields(text[1:-1])
        # The text is the repository's own.
        value = eval(text, {"__builtins__": {"range": range}}, self._names)
        is_kind = inspect.isclass(value) and issubclass(value, wiring.Signature)
        if inspect.isfunction(value) or is_kind:
            return self._made(value)
        return value

    def _fields(self, text: str) -> dict[str, object]:
        """Names of a structure's fields, with their shapes where the text gives them."""
        fields = {}
        for field in re.findall(r"[^,{]+(?:\{[^}]*\})?", text):
            name, colon, shape = field.partition(":")
            fields[name.strip()] = self.value(shape) if colon else None
        return fields

    def _made(self, make: object) -> object:
        """A layout or signature with the component's arguments; the class if some are missing."""
        given = {}
        for name, parameter in inspect.signature(make).parameters.items():
            if name in self._arguments:
                given[name] = self._arguments[name]
            elif parameter.default is inspect.Parameter.empty:
                if inspect.isfunction(make):
                    raise ValueError(f"{make.__name__} needs {name}: say which")
                return make
        return make(**given)


def _same_shape(actual: object, expected: object) -> bool:
    if isinstance(expected, dict):
        return (
            isinstance(actual, data.StructLayout)
            and list(actual.members) == list(expected)
            and all(
                shape is None or _same_shape(actual.members[name], shape)
                for name, shape in expected.items()
            )
        )
    special = (data.Layout, enum.EnumMeta)
    if isinstance(actual, special) or isinstance(expected, special):
        return actual == expected
    return Shape.cast(actual) == Shape.cast(expected)


def _same_members(actual: wiring.Signature, expected: wiring.Signature) -> bool:
    mine, theirs = actual.members, expected.members
    return list(mine) == list(theirs) and all(
        (mine[name].flow, mine[name].dimensions) == (theirs[name].flow, theirs[name].dimensions)
        and _fits(mine[name], _described(theirs[name]))
        for name in mine
    )


def _described(member: wiring.Member) -> object:
    return member.shape if member.is_port else _unflipped(member)


def _unflipped(member: wiring.Member) -> wiring.Signature:
    return member.signature.flip() if member.flow == wiring.In else member.signature


def _fits(member: wiring.Member, expected: object) -> bool:
    """Comparison of a member with the shape or the signature that was evaluated."""
    if member.is_port:
        is_shape = not isinstance(expected, (tuple, wiring.Signature))
        return is_shape and _same_shape(member.shape, expected)
    signature = _unflipped(member)
    if isinstance(expected, tuple):
        _, payload = expected
        is_stream = isinstance(signature, stream.Signature)
        return is_stream and _same_shape(signature.members["payload"].shape, payload)
    if inspect.isclass(expected):
        return type(signature) is expected
    return type(signature) is type(expected) and _same_members(signature, expected)


@dataclass(frozen=True)
class _Entry:
    """Documentation of one name; `bound`: names that its shape may use besides the component's."""

    name: str
    flow: wiring.Flow
    shape: str
    times: str | None
    bound: dict[str, object]

    @property
    def pattern(self) -> re.Pattern:
        return re.compile(re.sub("<[^>]+>", r"\\w+", self.name))

    def fits(self, member: wiring.Member, shapes: _Shapes) -> bool:
        """Comparison of a member with this direction, shape and number of repetitions."""
        shapes.bind(**self.bound)
        dimensions = () if self.times is None else (shapes.value(self.times),)
        same = (self.flow, dimensions) == (member.flow, member.dimensions)
        return same and _fits(member, shapes.value(self.shape))

    def __str__(self) -> str:
        return f"{self.flow.value}({self.shape})" + (
            "" if self.times is None else f" x {self.times}"
        )


def _expanded(text: str) -> Iterator[_Entry]:
    """Entries of a docstring, one for each engine of those that name "<engine>"."""
    for name, *rest in documented(text):
        if "<engine>" not in name:
            yield _Entry(name, *rest, {})
            continue
        for engine in ENGINES:
            own = name.replace("<engine>", engine.name.lower())
            yield _Entry(own, *rest, {"engine": engine})


def _inherited(kind: type) -> list[_Entry]:
    """Members that the components from which `kind` is derived document."""
    bases = [base for base in kind.__mro__[1:] if issubclass(base, wiring.Component)]
    return [entry for base in bases for entry in _expanded(base.__doc__ or "")]


def disagreements(
    kind: type, signature: wiring.Signature, arguments: dict[str, object]
) -> list[str]:
    """Differences between the members that `kind` documents and those of `signature`, a line each.

    Members that a base documents, which is compared on its own, need not be documented again.

    Parameters
    ----------
    kind
        A component or a signature.
    signature
        That of an instance.
    arguments
        What the instance was made with, by parameter.
    """
    shapes, found = _Shapes(kind, arguments), []
    entries = list(_expanded(kind.__doc__))
    literal, inherited = {entry.name for entry in entries}, _inherited(kind)
    used = set()
    for name, member in signature.members.items():
        near = [e for e in entries if e.name == name]
        if not near:
            near = [e for e in entries if e.pattern.fullmatch(name)]
        used |= {entry.name for entry in near}
        if not near:
            if not any(entry.pattern.fullmatch(name) for entry in inherited):
                found.append(f"{name} is not documented")
        elif not any(entry.fits(member, shapes) for entry in near):
            said = " or ".join(str(entry) for entry in near)
            found.append(f"{name} is {member!r}, documented as {said}")
    names = [entry.name for entry in entries]
    found += [f"{name} is documented twice" for name in literal if names.count(name) > 1]
    found += [f"{name} is documented, but there is none" for name in literal - used]
    return sorted(found)
