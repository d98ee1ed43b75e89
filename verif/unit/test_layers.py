"""The order of layers and of the hardware's rooms: imports run downward only."""

import ast
from pathlib import Path

import pytest

from verif import ROOT

LAYERS = {
    "tegula": (0, "hw/tegula"),
    "tegula_golden": (1, "model/tegula_golden"),
    "tegula_sw": (2, "sw/tegula_sw"),
    "verif": (3, "verif"),
    "scripts": (4, "scripts"),
}
"""Package -> height of its layer, and its folder."""

ROOMS = (
    {"formats", "files", "lib"},
    {"config", "xor128"},
    {"isa"},
    {"arith", "bus", "engine", "memory"},
    {"activation", "control", "dma", "tensor", "vector"},
    {"tile"},
    {"backend"},
)
"""Rooms of `hw/tegula` from the ground up; those of one storey do not import each other."""

ABOVE_ALL = ROOT / "verif" / "unit" / "scripts"
"""The tests of the highest layer, which import it."""

HEIGHTS = {room: height for height, storey in enumerate(ROOMS) for room in storey}
MOST_ROOMS = 12


def modules(folder):
    """Sources of a package and how they are imported: (path, dotted name)."""
    base = ROOT / folder
    for path in sorted(base.rglob("*.py")):
        parts = (base.name, *path.relative_to(base).with_suffix("").parts)
        yield path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(text):
    """Names that a source imports, wherever in it, with the line of each; none is relative."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} imports by a relative name"
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def upward_imports(layer, text):
    """Imports of a higher layer."""
    packages = ((name.split(".")[0], line) for name, line in imports_of(text))
    own = LAYERS[layer][0]
    return sorted({(p, line) for p, line in packages if p in LAYERS and LAYERS[p][0] > own})


def rooms_imported(text):
    """Rooms of `hw/tegula` that a source imports from, with the line of each."""
    found = ((name.split("."), line) for name, line in imports_of(text))
    return {
        (p[1], line) for p, line in found if p[0] == "tegula" and len(p) > 1 and p[1] in HEIGHTS
    }


def sidelong_imports(room, text):
    """Imports of rooms that are not below `room`."""
    return sorted(
        (other, line)
        for other, line in rooms_imported(text)
        if other != room and HEIGHTS[other] >= HEIGHTS[room]
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_import_downward_only(layer):
    _, folder = LAYERS[layer]
    sources = [path for path, _ in modules(folder) if ABOVE_ALL not in path.parents]
    found = {str(path): upward_imports(layer, path.read_text()) for path in sources}
    assert len(found) >= {"scripts": 8, "tegula_golden": 12}.get(layer, 50)
    assert not {path: lines for path, lines in found.items() if lines}


def test_rooms_of_the_hardware_import_downward_only():
    sources = [(path, name.split(".")[1]) for path, name in modules("hw/tegula") if "." in name]
    assert {room for _, room in sources} == set(HEIGHTS)
    found = {str(path): sidelong_imports(room, path.read_text()) for path, room in sources}
    assert len(found) >= 80
    assert not {path: lines for path, lines in found.items() if lines}
    crossings = sum(len(rooms_imported(path.read_text())) for path, _ in sources)
    assert crossings > 200


def test_an_import_of_a_higher_layer_is_found():
    text = "import numpy\n\n\ndef late():\n    from tegula_sw.program import span\n"
    assert upward_imports("tegula_golden", text) == [("tegula_sw", 5)]
    assert upward_imports("tegula_sw", text) == []
    assert upward_imports("tegula", "import tegula_golden.tile.bus") == [("tegula_golden", 1)]


def test_an_import_of_a_higher_room_is_found():
    assert sidelong_imports("memory", "from tegula.tensor.psum import Psum") == [("tensor", 1)]
    assert sidelong_imports("vector", "from tegula.tensor.psum import Psum") == [("tensor", 1)]
    assert sidelong_imports("tile", "from tegula import vector\nimport tegula.config") == []
    assert sidelong_imports("bus", "from tegula import vector") == [("vector", 1)]


@pytest.mark.parametrize("folder", ["model/tegula_golden", "sw/tegula_sw"])
def test_a_package_has_few_rooms_at_its_top(folder):
    rooms = {
        path.stem
        for path in Path(ROOT, folder).iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"__init__"}
    assert 1 < len(rooms) <= MOST_ROOMS, sorted(rooms)
