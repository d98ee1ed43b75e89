# amaranth: UnusedElaboratable=no
"""Members that docstrings document, against the signatures of every component of the package.

Instances are made for their signatures only, and never elaborated.
"""

import inspect
import re
from pathlib import Path

import pytest
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

import tegula
from tegula.config import preset
from tegula.dma.align import WriteAligner
from tegula.engine.interface import ticket_layout
from tegula.isa.instructions import Engine
from tegula.memory.ports import BankReadSignature
from verif.support.documented_members import components, disagreements, signatures

CONFIG = preset("small", trace=True)
ALIGNER = WriteAligner(CONFIG)
ARGUMENTS = {
    "config": CONFIG,
    "acc_width": CONFIG.acc_width,
    "beat": ALIGNER.beats.payload.shape(),
    "chunk": ALIGNER.chunks.payload.shape(),
    "context": 8,
    "cycles": 2,
    "depth": 16,
    "engine": Engine.LOAD,
    "kind": "add",
    "max_outstanding": 8,
    "members": {},
    "ports": {},
    "raises": True,
    "bank": BankReadSignature(CONFIG),
    "reset_state": (1, 2, 3, 4),
    "shape": 8,
    "sources": 3,
    "ticket": ticket_layout(CONFIG, "pc", "signal"),
    "unit_latency": 7,
}
"""A value for each parameter that a component or a signature has."""

OTHER_ARGUMENTS = {"DmaControl": {"engine": Engine.STORE}, "Retirement": {"cycles": None}}
"""Arguments with which a component has all its members."""

DOCUMENTED = [*components(), *(kind for kind in signatures() if "Members\n" in kind.__doc__)]


def default_of(parameter):
    """The default of a parameter, which must have one if it has no value in `ARGUMENTS`."""
    assert parameter.default is not parameter.empty, f"no argument for {parameter.name}"
    return parameter.default


def made(kind):
    """The signature of an instance, and the arguments that it was made with."""
    arguments = {
        name: ARGUMENTS[name] if name in ARGUMENTS else default_of(parameter)
        for name, parameter in inspect.signature(kind).parameters.items()
    } | OTHER_ARGUMENTS.get(kind.__name__, {})
    instance = kind(**arguments)
    return getattr(instance, "signature", instance), arguments


@pytest.mark.parametrize("kind", DOCUMENTED, ids=lambda kind: kind.__qualname__)
def test_a_docstring_documents_the_members_of_its_signature(kind):
    signature, arguments = made(kind)
    assert disagreements(kind, signature, arguments) == []


def test_every_component_of_the_package_is_looked_at():
    sources = (file.read_text() for file in Path(tegula.__file__).parent.rglob("*.py"))
    classes = [match for text in sources for match in DECLARATION.findall(text)]
    declared, bases = [], {"wiring.Component"}
    while bases:
        derived = [name for name, base in classes if base in bases]
        declared, bases = declared + derived, set(derived)
    assert sorted(kind.__name__ for kind in components()) == sorted(declared)
    assert len(declared) > 60


DECLARATION = re.compile(r"^class (\w+)\(([\w.]+)\)", re.MULTILINE)
"""A class with one base, and that base."""


class Pair(wiring.Signature):
    """A signature of one port."""

    def __init__(self):
        super().__init__({"a": Out(2)})


_LAYOUT = data.StructLayout({"a": 1, "b": 2})
_MEMBERS = {
    "i": In(stream.Signature(_LAYOUT)),
    "o": Out(5),
    "pairs": Out(Pair()).array(3),
    "load_en": In(1),
}
_RIGHT = "i : In(stream of {a, b: 2}), o : Out(width)\n    Text: of any kind.\n"
_RIGHT += "pairs : Out(Pair) x 3\n<other>_en : In(1)\n"


def found(members):
    """Disagreements of a component whose section has this text."""
    kind = type("Block", (wiring.Component,), {"__doc__": f"Block.\n\nMembers\n-------\n{members}"})
    kind.__module__ = __name__
    return disagreements(kind, wiring.Signature(_MEMBERS), {"width": 5})


def test_right_documentation_has_no_disagreement():
    assert found(_RIGHT) == []


@pytest.mark.parametrize(
    ("right", "wrong", "names"),
    [
        ("o : Out(width)", "o : In(width)", ["o"]),
        ("o : Out(width)", "o : Out(width + 1)", ["o"]),
        ("o : Out(width)", "o : Out(signed(width))", ["o"]),
        ("o : Out(width)", "o : Out({a, b})", ["o"]),
        ("o : Out(width)", "o : Out(Pair)", ["o"]),
        ("o : Out(width)", "o, p : Out(width)", ["p"]),
        ("o : Out(width)", "o, o : Out(width)", ["o"]),
        (", o : Out(width)", "", ["o"]),
        ("{a, b: 2}", "{b, a}", ["i"]),
        ("{a, b: 2}", "{a, b: 3}", ["i"]),
        ("{a, b: 2}", "{a}", ["i"]),
        ("{a, b: 2}", "3", ["i"]),
        ("stream of {a, b: 2}", "{a, b: 2}", ["i"]),
        ("Pair) x 3", "Pair) x 2", ["pairs"]),
        ("Pair) x 3", "Pair)", ["pairs"]),
        ("Out(Pair)", "In(Pair)", ["pairs"]),
        ("Out(Pair)", "Out(stream of 2)", ["pairs"]),
        ("<other>_en : In(1)", "<other>_en : In(2)", ["load_en"]),
        ("<other>_en : In(1)", "<engine>_en : In(1)", ["activation_en", "store_en"]),
    ],
)
def test_a_disagreement_is_found(right, wrong, names):
    assert _RIGHT.count(right) == 1
    lines = found(_RIGHT.replace(right, wrong))
    assert lines, wrong
    assert {line.split()[0] for line in lines} >= set(names)


def test_a_member_that_a_base_documents_needs_no_entry():
    base = type("Base", (wiring.Component,), {"__doc__": f"Base.\n\nMembers\n-------\n{_RIGHT}"})
    for text, wrong in (("o : Out(5)", []), ("o : Out(4)", ["o"]), ("p : In(1)", ["p"])):
        kind = type("Block", (base,), {"__doc__": f"Block.\n\nMembers\n-------\n{text}\n"})
        kind.__module__ = __name__
        lines = disagreements(kind, wiring.Signature(_MEMBERS), {"width": 5})
        assert [line.split()[0] for line in lines] == wrong


@pytest.mark.parametrize("entry", ["o", "o : Out", "o : 5 bits", "o : Out(5) where it counts"])
def test_an_entry_of_another_form_is_refused(entry):
    with pytest.raises(ValueError, match="of Members"):
        found(entry)
